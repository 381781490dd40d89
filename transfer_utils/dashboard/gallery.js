// Draws pictures as a grid of buttons, and reports which of them is pressed. All text is set as text, never as markup.

export default function ({ data, parentElement, setTriggerValue }) {
  const grid = parentElement.querySelector(".gallery");
  grid.report = (at) => setTriggerValue("picked", at);
  const drawn = JSON.stringify(data);
  if (grid.drawn === drawn) return; // or the focus would be lost
  grid.drawn = drawn;
  grid.setAttribute("aria-label", data.label);
  grid.classList.toggle("large", data.large);
  const focused = [...grid.children].indexOf(grid.getRootNode().activeElement);
  grid.replaceChildren(...data.pictures.map((picture) => tile(picture, data.clickable, grid)));
  grid.children[focused]?.focus();
}

function tile({ at, image, lines, name, right, pressed }, clickable, grid) {
  const frame = document.createElement(clickable ? "button" : "div");
  frame.className = "tile";
  if (right !== null) frame.classList.add(right ? "right" : "wrong");
  frame.title = name;
  if (clickable) {
    frame.type = "button";
    if (pressed !== null) frame.setAttribute("aria-pressed", pressed);
    frame.setAttribute("aria-label", [name, ...lines].join(", "));
    frame.addEventListener("click", () => grid.report(at));
  }
  frame.append(image ? picture(image, name) : text("missing", "no thumbnail"), ...lines.map((line) => text("line", line)));
  return frame;
}

function picture(source, name) {
  const shown = document.createElement("img");
  shown.alt = name;
  // The pixels of a small image are shown instead of smoothed away.
  shown.addEventListener("load", () => shown.classList.toggle("small", shown.naturalWidth <= 64));
  shown.src = source;
  return shown;
}

function text(name, content) {
  const line = document.createElement("span");
  line.className = name;
  line.textContent = content;
  return line;
}
