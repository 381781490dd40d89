// The classifier: model.tflite, run by LiteRT.js in one thread of this browser.

import { Tensor, loadAndCompile, loadLiteRt } from "./litert/index.js";

let library = null; // the promise of LiteRT.js, which can be loaded only once

/** Load the library and the model; return what tells pictures apart. */
export async function load() {
  library ??= quietly(() => loadLiteRt(new URL("litert/", import.meta.url).href));
  library.catch(() => { library = null; });
  const [model, about] = await Promise.all([fetched("model.tflite"), fetched("model.json"), library]);
  const { class_names: names, not_sure_below: threshold } = JSON.parse(new TextDecoder().decode(about));
  const network = await loadAndCompile(model, { accelerator: "wasm" });
  const shape = [...network.getInputDetails()[0].shape];

  /** Return the classes of a picture, the likeliest first, and whether that is sure enough to be an answer. */
  async function classify(pixels) {
    const batch = new Uint8Array(shape.reduce((product, size) => product * size));
    batch.set(pixels); // a model may take several pictures at a time: the others stay black
    const input = new Tensor(batch, shape);
    const outputs = await network.run(input);
    const probabilities = [...outputs[0].toTypedArray().slice(0, names.length)];
    for (const tensor of [input, ...outputs]) tensor.delete();
    const classes = names.map((name, index) => ({ name, probability: probabilities[index] }));
    classes.sort((a, b) => b.probability - a.probability);
    return { classes, sure: classes[0].probability >= threshold };
  }

  return { classify };
}

async function fetched(name) {
  const answer = await fetch(new URL(name, import.meta.url), { cache: "no-cache" }); // the page may have been rewritten
  if (!answer.ok) throw new Error(`${name}: ${answer.status} ${answer.statusText}`);
  return new Uint8Array(await answer.arrayBuffer());
}

/** Start the library without letting it look for a GPU, which it does not need here and would complain about. */
async function quietly(start) {
  const warn = console.warn;
  console.warn = (...words) => /WebGPU/.test(words[0]) || warn(...words);
  Object.defineProperty(navigator, "gpu", { value: undefined, configurable: true }); // hides the one of the browser
  self.Module = { print() {}, printErr() {} }; // the settings of its binary, which would tell the console what it does
  try {
    await start();
  } finally {
    delete navigator.gpu;
    console.warn = warn;
  }
}
