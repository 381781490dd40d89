(() => {
  "use strict";
  const root = document.querySelector(".runs");
  const { runs, order, stages } = JSON.parse(root.querySelector(".runs-data").textContent);
  const byName = new Map(runs.map((run) => [run.name, run]));
  const form = root.querySelector("form");
  const body = root.querySelector("tbody");
  const rows = [...body.rows];
  const heads = [...root.querySelectorAll("thead th")];
  const panel = root.querySelector(".runs-chosen");
  const PLACES = ["first", "second"];
  const PANELS = [["Accuracy", "accuracy", "val_accuracy"], ["Loss", "loss", "val_loss"]];
  let chosen = []; // names of at most two runs, in the order in which they were chosen
  let only = null; // names from the address, to which the table is limited

  const nameOf = (row) => row.cells[0].dataset.key;

  function element(tag, attributes = {}, ...children) {
    const made = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
    made.append(...children); // text stays text: a string becomes a text node
    return made;
  }

  function drawing(tag, attributes, text = "") {
    const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
    made.textContent = text;
    return made;
  }

  function filter() {
    const words = form.search.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const row of rows) {
      const { words: text, status, dataset } = row.dataset;
      // The value of an option is searched whole: seed=1 is not seed=10.
      row.hidden = !(words.every((word) => (word.includes("=") ? ` ${text} `.includes(` ${word} `) : text.includes(word)))
        && (!form.status.value || status === form.status.value)
        && (!form.data.value || dataset === form.data.value)
        && (!only || only.has(nameOf(row))));
      shown += !row.hidden;
    }
    const all = `${rows.length} ${rows.length === 1 ? "run" : "runs"}`;
    root.querySelector(".runs-count").textContent = shown === rows.length ? all : `${shown} of ${all}`;
  }

  function compare(a, b) {
    // Numbers come before text; a missing value is always last (see sort).
    const [x, y] = [Number(a), Number(b)];
    if (!Number.isNaN(x) && !Number.isNaN(y)) return x - y;
    if (Number.isNaN(x) !== Number.isNaN(y)) return Number.isNaN(x) ? 1 : -1;
    return a < b ? -1 : a > b ? 1 : 0;
  }

  function sort(column) {
    const head = heads[column];
    const descending = head.getAttribute("aria-sort") === "ascending";
    for (const other of heads) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", descending ? "descending" : "ascending");
    const key = (row) => row.cells[column].dataset.key;
    rows.sort((a, b) => {
      if ((key(a) === "") !== (key(b) === "")) return key(a) === "" ? 1 : -1;
      return descending ? compare(key(b), key(a)) : compare(key(a), key(b));
    });
    body.append(...rows);
  }

  function choose(name, on) {
    chosen = chosen.filter((other) => other !== name);
    if (on) chosen = [...chosen, name].slice(-PLACES.length);
    show();
  }

  function show() {
    for (const row of rows) {
      const place = chosen.indexOf(nameOf(row));
      row.classList.toggle("chosen", place >= 0);
      row.querySelector("input").checked = place >= 0;
      row.querySelector("span").className = PLACES[place] ?? "";
    }
    const picked = chosen.map((name) => byName.get(name));
    panel.replaceChildren(...(picked.length ? [legend(picked), charts(picked), options(picked)] : []));
  }

  function legend(picked) {
    const items = picked.map((run, place) => element("li", {}, element("strong", { class: PLACES[place] }, run.name)));
    return element("ul", { class: "runs-legend" }, ...items, element("li", {}, "solid: validation, dashed: training"));
  }

  function charts(picked) {
    const drawn = PANELS.map(([title, ...quantities]) => chart(title, picked, quantities)).filter(Boolean);
    if (!drawn.length) return element("p", {}, "No curves are recorded.");
    return element("div", { class: "runs-charts" }, ...drawn);
  }

  function chart(title, picked, quantities) {
    const lines = picked.flatMap((run, place) => quantities.filter((name) => run.curves[name])
      .map((name) => ({ run, place, name, values: run.curves[name] })));
    const values = lines.flatMap((line) => line.values.filter((value) => value !== null));
    if (!values.length) return null;
    const [width, height, left, right, top, bottom] = [480, 260, 52, 10, 10, 34];
    const last = Math.max(...lines.map((line) => line.run.epochs.at(-1)), 2);
    const ticks = niceTicks(Math.min(...values), Math.max(...values));
    if (!ticks.length) return null;
    const [low, high] = [ticks[0], ticks.at(-1)];
    const x = (epoch) => left + ((epoch - 1) / (last - 1)) * (width - left - right);
    const y = (value) => height - bottom - ((value - low) / (high - low)) * (height - top - bottom);
    const percent = title === "Accuracy";
    const label = (value) => (percent ? `${Number((100 * value).toPrecision(4))} %` : String(Number(value.toPrecision(4))));
    const alt = `${title} by epoch of ${picked.map((run) => run.name).join(" and ")}`;
    const svg = drawing("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": alt });
    for (const tick of ticks) {
      svg.append(drawing("line", { class: "grid", x1: left, x2: width - right, y1: y(tick), y2: y(tick) }));
      svg.append(drawing("text", { x: left - 6, y: y(tick) + 4, "text-anchor": "end" }, label(tick)));
    }
    const step = Math.max(1, Math.ceil(last / 6));
    for (let epoch = step; epoch <= last; epoch += step) {
      svg.append(drawing("text", { x: x(epoch), y: height - bottom + 16, "text-anchor": "middle" }, epoch));
    }
    svg.append(drawing("text", { x: (left + width - right) / 2, y: height - 4, "text-anchor": "middle" }, "epoch"));
    picked.forEach((run, place) => Object.entries(run.starts).slice(1).forEach(([stage, start]) => {
      const at = x(start - 0.5);
      svg.append(drawing("line", { class: "stage", x1: at, x2: at, y1: top, y2: height - bottom }));
      const name = Object.hasOwn(stages, stage) ? stages[stage] : stage;
      svg.append(drawing("text", { x: at + 4, y: height - bottom - 6 - 14 * place }, name));
    }));
    for (const { run, place, name, values: curve } of lines) {
      const split = name.startsWith("val_") ? "validation" : "training";
      const path = drawing("path", { class: `${split} ${PLACES[place]}`, d: pathOf(run.epochs, curve, x, y) });
      path.append(drawing("title", {}, `${run.name}, ${split}: ends at ${label(curve.findLast((v) => v !== null))}`));
      svg.append(path);
    }
    return element("figure", {}, element("figcaption", {}, title), svg);
  }

  function pathOf(epochs, values, x, y) {
    let path = "";
    let open = false;
    values.forEach((value, index) => {
      if (value !== null) path += `${open ? "L" : "M"}${x(epochs[index]).toFixed(1)} ${y(value).toFixed(1)}`;
      open = value !== null;
    });
    // A single point would draw nothing: give it a length.
    return values.filter((value) => value !== null).length === 1 ? `${path}h3` : path;
  }

  function niceTicks(low, high) {
    const size = Math.max(Math.abs(low), Math.abs(high)) || 1;
    if (high - low < 1e-9 * size) [low, high] = [low - size / 10, high + size / 10];
    if (!Number.isFinite(high - low)) return [];
    const rough = (high - low) / 4;
    const power = 10 ** Math.floor(Math.log10(rough));
    const step = [1, 2, 5, 10].map((factor) => factor * power).find((each) => each >= rough);
    const first = Math.floor(low / step);
    const count = Math.min(Math.ceil(high / step) - first + 1, 20);
    return Array.from({ length: count }, (_, index) => (first + index) * step);
  }

  function options(picked) {
    const place = (name) => (order.includes(name) ? order.indexOf(name) : order.length);
    const names = [...new Set(picked.flatMap((run) => Object.keys(run.options)))].sort((a, b) => place(a) - place(b));
    const value = (run, name) => (Object.hasOwn(run.options, name) ? run.options[name] : "–");
    // An option that one of the runs does not use is "–" and no difference, as on the page Compare of the dashboard.
    const used = (name) => new Set(picked.map((run) => value(run, name)).filter((text) => text !== "–"));
    const differ = names.filter((name) => picked.length < 2 || used(name).size > 1);
    const parts = picked.length < 2 ? [] : [element("h3", {}, "Options that differ")];
    const table = element("table", {}, element("thead", {}, element("tr", {}, element("th", { scope: "col" }, "option"),
      ...picked.map((run, index) => element("th", { scope: "col", class: PLACES[index] }, run.name)))),
    element("tbody", {}, ...differ.map((name) => element("tr", {}, element("th", { scope: "row" }, name),
      ...picked.map((run) => element("td", {}, value(run, name)))))));
    const scroll = element("div", { class: "runs-options", tabindex: "0", role: "region", "aria-label": "Options" }, table);
    if (picked.length < 2) {
      parts.push(element("p", {}, "Command: ", element("code", {}, picked[0].command || "not recorded")));
      parts.push(element("details", {}, element("summary", {}, `All ${differ.length} options`), scroll));
    } else {
      parts.push(differ.length ? scroll : element("p", {}, "All recorded options are equal."));
    }
    return element("div", {}, ...parts);
  }

  function readAddress() {
    // #runs=NAME,NAME limits the table to these runs; one or two of them are chosen at once.
    const hash = new URLSearchParams(location.hash.slice(1));
    if (!location.hash || hash.has("runs")) { // not a link to another part of the page
      const names = hash.get("runs")?.split(",").filter((name) => byName.has(name));
      only = names?.length ? new Set(names) : null;
      chosen = names?.length <= PLACES.length ? names : [];
    }
    filter();
    show();
  }

  form.addEventListener("input", filter);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("reset", () => {
    only = null;
    setTimeout(filter); // the fields are empty only after this event
  });
  heads.forEach((head, column) => head.firstChild.addEventListener("click", () => sort(column)));
  body.addEventListener("change", (event) => choose(nameOf(event.target.closest("tr")), event.target.checked));
  addEventListener("hashchange", readAddress);
  readAddress();
})();
