// Draws a Plotly figure in the colours and the font of the page, keeps what the reader set in it when new data arrives,
// and saves it as a whole: with its font in the file.

const LEGEND_LINE = 29; // pixels, which the designed height of a figure includes
const FADED = 0.08; // opacity of the lines that miss a selected part of an axis

let plotly;

function load(source) {
  plotly ??= new Promise((resolve, reject) => {
    const script = document.createElement("script");
    script.src = new URL(source, document.baseURI);
    script.onload = () => resolve(window.Plotly);
    script.onerror = () => reject(new Error("Plotly could not be loaded"));
    document.head.append(script);
  });
  return plotly;
}

export default async function ({ data, parentElement, setTriggerValue }) {
  const frame = parentElement.querySelector(".chart");
  const { layout, data: traces } = JSON.parse(data.figure);
  frame.designed = layout.height;
  layout.height += frame.legendHeight ?? 0;
  frame.style.height = `${layout.height}px`; // before Plotly is loaded, so that the page does not jump
  frame.setAttribute("aria-label", data.alt);
  const Plotly = await load(data.plotly);
  if (!frame.isConnected) return;
  dress(layout, data.palette ?? colours(parentElement), getComputedStyle(parentElement).fontFamily);
  frame.minWidth = data.min_width;
  if (frame.format !== data.format) frame.config = configuration(Plotly, frame, data);
  frame.format = data.format;
  // With the same uirevision and the same configuration, Plotly keeps zoom and hidden lines.
  await Plotly.react(frame, traces, { ...layout, width: widthOf(frame), uirevision: data.revision }, frame.config);
  frame.report = setTriggerValue;
  if (data.clickable && !frame.listens) {
    frame.listens = true;
    frame.classList.add("clickable");
    frame.on("plotly_click", ({ points: [{ x, y }] }) => frame.report("clicked", { x, y }));
  }
  await fit(Plotly, frame);
  if (layout.meta?.parallel) await selectLines(Plotly, frame);
  frame.observer ??= new ResizeObserver(() => fit(Plotly, frame));
  frame.observer.observe(parentElement);
  return () => {
    if (frame.isConnected) return; // only this drawing is out of date, not the chart
    frame.observer.disconnect();
    Plotly.purge(frame);
  };
}

// Parallel coordinates: let the reader select parts of axes, and fade the lines that miss them.
async function selectLines(Plotly, frame) {
  frame.fade ??= () => fade(Plotly, frame);
  frame.removeListener("plotly_relayout", frame.fade); // Plotly itself removes it only with another configuration
  frame.on("plotly_relayout", frame.fade);
  await fade(Plotly, frame);
}

async function fade(Plotly, frame) {
  const parts = (frame.layout.selections ?? []).map(({ x0, x1, y0, y1 }) => ({
    axes: axesIn(Math.min(x0, x1), Math.max(x0, x1)), low: Math.min(y0, y1), high: Math.max(y0, y1),
  }));
  const passes = (heights) => heights.every((height, axis) => {
    const onAxis = parts.filter(({ axes }) => axes.includes(axis));
    return !onAxis.length || onAxis.some(({ low, high }) => low <= height && height <= high);
  });
  const opacity = frame.data.map((line) => (passes(line.y) ? 1 : FADED));
  if (frame.data.some((line, place) => (line.opacity ?? 1) !== opacity[place])) await Plotly.restyle(frame, { opacity });
}

// Return the axes, which stand at x = 0, 1, 2, ..., between two places, or else the one nearest to them.
function axesIn(left, right) {
  const [first, last] = [Math.ceil(left), Math.floor(right)];
  if (last < first) return [Math.round((left + right) / 2)];
  return Array.from({ length: last - first + 1 }, (_, place) => first + place);
}

function configuration(Plotly, frame, { format, name }) {
  const title = `Download plot as ${format}`;
  const save = { name: "save", title, icon: Plotly.Icons.camera, click: () => download(Plotly, frame, format, name) };
  const unused = ["toImage", "select2d", "lasso2d", "autoScale2d", "zoomIn2d", "zoomOut2d", "sendChartToCloud"];
  return { displaylogo: false, showSendToCloud: false, modeBarButtonsToRemove: unused, modeBarButtonsToAdd: [save] };
}

// Fit the figure to the width of the page, and add the height of the lines of the legend after the first.
async function fit(Plotly, frame) {
  const width = widthOf(frame);
  if (!width) return; // hidden
  if (width !== frame._fullLayout.width) await Plotly.relayout(frame, { width });
  const legend = frame.querySelector(".legend .bg")?.getBBox().height ?? 0;
  frame.legendHeight = Math.max(0, Math.round(legend) - LEGEND_LINE);
  const height = frame.designed + frame.legendHeight;
  if (height === frame._fullLayout.height) return;
  frame.style.height = `${height}px`;
  await Plotly.relayout(frame, { height });
}

// Return the width of the page's column, in which a wider figure is scrolled; 0 if it is hidden.
function widthOf(frame) {
  const column = frame.parentElement;
  column.style.overflowX = "auto";
  return column.offsetWidth && Math.max(column.offsetWidth, frame.minWidth);
}

function colours(element) {
  const style = getComputedStyle(element);
  const [ink, paper, grid] = ["text", "background", "border"].map((name) => style.getPropertyValue(`--st-${name}-color`));
  return { ink, paper, grid };
}

function dress(layout, { ink, paper, grid }, family) {
  layout.font = { size: 12, ...layout.font, family, color: ink };
  layout.paper_bgcolor = layout.plot_bgcolor = paper;
  layout.hoverlabel = { ...layout.hoverlabel, bgcolor: paper, bordercolor: grid, font: { family, color: ink } };
  layout.modebar = { bgcolor: paper, color: ink, activecolor: ink };
  for (const [name, axis] of Object.entries(layout)) {
    if (/^[xy]axis\d*$/.test(name)) Object.assign(axis, { gridcolor: grid, zerolinecolor: grid, linecolor: grid });
  }
  for (const annotation of layout.annotations ?? []) {
    if (annotation.name === "on paper") annotation.bgcolor = paper; // legible over lines
  }
}

async function download(Plotly, frame, format, name) {
  const { width, height } = frame._fullLayout;
  const figure = { data: frame.data, layout: frame.layout };
  const drawn = await Plotly.toImage(figure, { format: "svg", width, height, imageDataOnly: true });
  const rules = await fontRules(frame.layout.font.family);
  const svg = drawn.replace(/<svg[^>]*>/, (start) => `${start}<style>${rules}</style>`);
  let file = new Blob([svg], { type: "image/svg+xml" });
  if (format === "PNG") file = await raster(file, width, height);
  const link = document.createElement("a");
  link.href = URL.createObjectURL(file);
  link.download = `${name}.${format.toLowerCase()}`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

// Return the font faces of the first font of a family, with the file of the font in the rule.
async function fontRules(family) {
  const first = family.split(",")[0].replaceAll(/["']/g, "").trim();
  const rules = [];
  for (const sheet of document.styleSheets) {
    for (const rule of sheet.cssRules) {
      const style = rule instanceof CSSFontFaceRule && rule.style;
      if (!style || style.fontStyle === "italic" || style.fontFamily.replaceAll(/["']/g, "") !== first) continue;
      const source = style.getPropertyValue("src").match(/url\(["']?([^"')]+)/)?.[1];
      if (!source) continue;
      const url = new URL(source, sheet.href ?? document.baseURI);
      const content = await encoded(await (await fetch(url)).blob());
      const weight = style.fontWeight || "400";
      rules.push(`@font-face{font-family:"${first}";font-weight:${weight};src:url(${content})}`);
    }
  }
  return rules.join("");
}

function encoded(blob) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result);
    reader.onerror = () => reject(reader.error);
    reader.readAsDataURL(blob);
  });
}

async function raster(svg, width, height, scale = 2) {
  const image = new Image();
  // A data address, because a browser may refuse to read pixels that came from a blob.
  image.src = await encoded(svg);
  await image.decode();
  const canvas = Object.assign(document.createElement("canvas"), { width: scale * width, height: scale * height });
  canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
  return new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
}
