// The page: takes a picture by file, drop or camera, and shows the answer. The classifier is loaded with the first one.

import { Refused, decode, square } from "./pixels.js";

const root = document.getElementById("demo");
const side = Number(root.dataset.side);
const TOP = 5; // classes with a bar

const part = (name) => root.querySelector(`.demo-${name}`);
const [status, problem, result, camera] = ["status", "problem", "result", "camera"].map(part);
const video = camera.querySelector("video");
const button = (name) => root.querySelector(`button[name="${name}"]`);

let loading = null; // the promise of the classifier
let newest = 0; // number of the newest picture: the answer to an earlier one is not shown any more

function classifier() {
  loading ??= import("./classifier.js").then((module) => module.load());
  loading.catch(() => { loading = null; }); // tried again with the next picture
  return loading;
}

function showStatus(text) {
  status.textContent = text;
}

function showProblem(text) {
  showStatus("");
  result.hidden = true;
  problem.textContent = text;
}

/** Show a picture and its classes. `source` returns a promise of an ImageBitmap. */
async function show(source) {
  newest += 1;
  const mine = newest;
  problem.textContent = "";
  showStatus("Reading the picture …");
  try {
    const bitmap = await source().catch((error) => {
      throw error instanceof Refused ? error : new Refused(`The picture cannot be loaded: ${error.message}`);
    });
    const pixels = square(bitmap, side);
    bitmap.close();
    if (mine !== newest) return;
    drawSquare(pixels);
    drawAnswer(null);
    showStatus(loading ? "Classifying …" : `Loading the classifier, ${root.dataset.size}, once …`);
    const answer = await (await classifier()).classify(pixels);
    if (mine !== newest) return;
    drawAnswer(answer);
    showStatus("");
  } catch (error) {
    if (mine !== newest) return;
    showProblem(error instanceof Refused ? error.message : `The classifier cannot be loaded here: ${error.message}`);
  }
}

function drawSquare(pixels) {
  const context = result.querySelector("canvas").getContext("2d");
  const image = context.createImageData(side, side);
  image.data.fill(255);
  for (let at = 0; at < pixels.length; at += 1) image.data[at + Math.floor(at / 3)] = pixels[at]; // skips the opacity
  context.putImageData(image, 0, 0);
  result.hidden = false;
}

function drawAnswer(answer) {
  const percent = (probability) => `${(100 * probability).toFixed(1)} %`;
  const classes = answer ? answer.classes.slice(0, TOP) : [];
  part("answer").textContent = !answer ? "" : answer.sure ? classes[0].name : "Not sure";
  part("doubt").hidden = !answer || answer.sure;
  part("bars").replaceChildren(...classes.map(({ name, probability }) => {
    const row = element("li");
    const bar = element("span", "demo-bar");
    bar.append(element("span"));
    bar.firstChild.style.width = `${100 * probability}%`;
    row.append(element("span", "demo-name", name), bar, element("span", "demo-share", percent(probability)));
    return row;
  }));
  part("bars").classList.toggle("unsure", Boolean(answer) && !answer.sure);
}

function element(tag, name = "", text = "") {
  const made = document.createElement(tag);
  if (name) made.className = name;
  made.textContent = text; // a class name stays text
  return made;
}

function showFile(file) {
  if (file) show(() => decode(file, file.name));
  else showProblem("That was not a file: drop a picture from a folder.");
}

let opening = false;

async function openCamera() {
  if (opening) return; // a second click would open a second stream, which nothing stops
  opening = true;
  closeCamera(); // or the camera of an earlier click would stay on
  problem.textContent = "";
  try {
    if (!navigator.mediaDevices) throw new Refused("A browser opens the camera only for https:// and localhost.");
    video.srcObject = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } });
    button("take").disabled = true; // until the camera has sent a picture
    camera.hidden = false;
    await video.play();
    button("take").disabled = false;
    button("take").focus();
  } catch (error) {
    closeCamera();
    const reasons = {
      NotAllowedError: "The camera may not be used: allow it in the browser's settings for this page.",
      NotFoundError: "There is no camera.",
    };
    showProblem(error instanceof Refused ? error.message : reasons[error.name] ?? `The camera does not start: ${error.message}`);
  } finally {
    opening = false;
  }
}

function closeCamera() {
  for (const track of video.srcObject?.getTracks() ?? []) track.stop();
  video.srcObject = null;
  camera.hidden = true;
}

const chooser = root.querySelector("input[type=file]");
chooser.addEventListener("change", () => {
  if (chooser.files.length) showFile(chooser.files[0]);
  chooser.value = ""; // so that the same file can be chosen again
});
for (const example of root.querySelectorAll(".demo-examples button")) {
  const picture = example.querySelector("img");
  example.addEventListener("click", () => show(async () => {
    const answer = await fetch(picture.src);
    if (!answer.ok) throw new Error(`${answer.status} ${answer.statusText}`);
    return decode(await answer.blob(), picture.alt);
  }));
}
for (const kind of ["dragover", "drop"]) {
  // On the whole window: a picture that misses the field must not replace the page.
  window.addEventListener(kind, (event) => {
    event.preventDefault();
    part("drop").classList.toggle("over", kind === "dragover");
  });
}
window.addEventListener("dragleave", () => part("drop").classList.remove("over"));
window.addEventListener("drop", (event) => showFile(event.dataTransfer.files[0]));
button("camera").addEventListener("click", openCamera);
button("stop").addEventListener("click", closeCamera);
button("take").addEventListener("click", () => show(() => createImageBitmap(video)));
window.addEventListener("pagehide", closeCamera);
for (const control of root.querySelectorAll("button, input")) control.disabled = false;
showStatus("");
