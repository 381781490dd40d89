// From a picture to the square of pixels that the network takes, as transfer_utils.data.images.decode_image makes it:
// the largest centred square, on white, shrunk with Lanczos or enlarged bicubically. The arithmetic is that of Pillow
// (Reduce.c and Resample.c), so the bytes are the same; a canvas would resize in another way in every browser.

const MAX_PIXELS = 64e6; // as in Python
const MAX_BYTES = 256 * 2 ** 20;
const MAX_CANVAS = 4e6; // pixels that are read at a time: phones refuse larger canvases
const REDUCING_GAP = 3;
const BITS = 22; // of the fraction of a weight

/** A picture that cannot be used; the message is for the visitor. */
export class Refused extends Error {}

/** Decode an image file, untrusted, to an ImageBitmap; its size is checked before its pixels are decoded. */
export async function decode(file, name) {
  if (file.size === 0) throw new Refused(`${name} is empty.`);
  if (file.size > MAX_BYTES) {
    throw new Refused(`${name} has ${Math.round(file.size / 2 ** 20)} MiB; the limit is ${MAX_BYTES / 2 ** 20} MiB.`);
  }
  const { width, height } = await measured(file, name);
  if (width * height > MAX_PIXELS) {
    const [x, y] = [width, height].map((side) => side.toLocaleString("en"));
    throw new Refused(`${name} has ${x} × ${y} pixels; the limit is ${MAX_PIXELS / 1e6} million.`);
  }
  try {
    // The numbers in the file, as Pillow reads them: not converted to the colours of this screen.
    return await createImageBitmap(file, { colorSpaceConversion: "none" });
  } catch {
    throw new Refused(`${name} is damaged, or not a picture that this browser can read.`);
  }
}

/** Return the width and height of an image file. An <img> that is not shown reads them without decoding the pixels. */
async function measured(file, name) {
  const address = URL.createObjectURL(file);
  const image = new Image();
  try {
    await new Promise((resolve, reject) => {
      image.onload = resolve;
      image.onerror = reject;
      image.src = address;
    });
    return { width: image.naturalWidth, height: image.naturalHeight };
  } catch {
    throw new Refused(`${name} is not a picture that this browser can read.`);
  } finally {
    URL.revokeObjectURL(address);
  }
}

/** Return side × side RGB pixels, Uint8ClampedArray of length 3 side², of an ImageBitmap. */
export function square(bitmap, side) {
  const edge = Math.min(bitmap.width, bitmap.height);
  const left = Math.floor((bitmap.width - edge) / 2);
  const top = Math.floor((bitmap.height - edge) / 2);
  const factor = Math.trunc(edge / side / REDUCING_GAP) || 1;
  const { pixels, size } = reduced(bitmap, left, top, edge, factor);
  if (size === side) return pixels;
  // Pillow takes the part of a reduced image that counts as 32-bit floats.
  return resized(pixels, size, Math.fround(edge / factor), side, edge > side ? LANCZOS : BICUBIC);
}

/** Read a square of a bitmap, each block of factor × factor pixels as its mean; the last blocks may be smaller. */
function reduced(bitmap, left, top, edge, factor) {
  const size = Math.ceil(edge / factor);
  const pixels = new Uint8ClampedArray(3 * size * size);
  const rows = Math.max(1, Math.floor(MAX_CANVAS / (edge * factor))); // of blocks, read at a time
  const canvas = document.createElement("canvas");
  canvas.width = edge;
  canvas.height = Math.min(edge, rows * factor);
  const context = canvas.getContext("2d", { willReadFrequently: true, colorSpace: "srgb" });
  context.imageSmoothingEnabled = false;
  for (let first = 0; first < size; first += rows) {
    const y = first * factor;
    const height = Math.min(edge - y, rows * factor);
    context.fillStyle = "#ffffff"; // transparent pixels lie on white
    context.fillRect(0, 0, edge, height);
    context.drawImage(bitmap, left, top + y, edge, height, 0, 0, edge, height);
    const { data } = context.getImageData(0, 0, edge, height);
    for (let row = 0; row * factor < height; row += 1) {
      for (let column = 0; column < size; column += 1) {
        const x = column * factor;
        const block = [x, row * factor, Math.min(factor, edge - x), Math.min(factor, height - row * factor)];
        const at = 3 * ((first + row) * size + column);
        for (let channel = 0; channel < 3; channel += 1) pixels[at + channel] = mean(data, edge, block, channel);
      }
    }
  }
  return { pixels, size };
}

/** Return the rounded mean of a block of RGBA pixels, with the fixed-point division of Pillow. */
function mean(data, width, [x, y, columns, rows], channel) {
  const count = columns * rows;
  let sum = Math.floor(count / 2);
  for (let row = y; row < y + rows; row += 1) {
    const start = 4 * (row * width + x) + channel;
    for (let at = start; at < start + 4 * columns; at += 4) sum += data[at];
  }
  const multiplier = Math.trunc(Math.fround(2 ** 32 / (256 * count)));
  return Math.floor((sum * multiplier) / 2 ** 24);
}

const LANCZOS = {
  support: 3,
  weight: (x) => (x >= -3 && x < 3 ? sinc(x) * sinc(x / 3) : 0),
};
const BICUBIC = {
  support: 2,
  weight: (signed) => {
    const [x, a] = [Math.abs(signed), -0.5];
    if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
    return x < 2 ? (((x - 5) * x + 8) * x - 4) * a : 0;
  },
};

function sinc(x) {
  return x === 0 ? 1 : Math.sin(x * Math.PI) / (x * Math.PI);
}

/** Resize size × size RGB pixels, of which the first span (not always whole) count, first along rows, then columns. */
function resized(pixels, size, span, side, filter) {
  const taps = Array.from({ length: side }, (_, index) => weights(index, size, span, side, filter));
  const wide = new Uint8ClampedArray(3 * size * side);
  for (let row = 0; row < size; row += 1) {
    for (let column = 0; column < side; column += 1) {
      for (let channel = 0; channel < 3; channel += 1) {
        wide[3 * (row * side + column) + channel] = weighted(pixels, taps[column], 3 * row * size + channel, 3);
      }
    }
  }
  const result = new Uint8ClampedArray(3 * side * side);
  for (let row = 0; row < side; row += 1) {
    for (let at = 0; at < 3 * side; at += 1) result[3 * row * side + at] = weighted(wide, taps[row], at, 3 * side);
  }
  return result;
}

/** Return the first source pixel of a target pixel, and the weights from there on as fixed-point numbers. */
function weights(index, size, span, side, { support, weight }) {
  const scale = span / side;
  const stretch = Math.max(scale, 1);
  const centre = (index + 0.5) * scale;
  const first = Math.max(0, Math.trunc(centre - support * stretch + 0.5));
  const end = Math.min(size, Math.trunc(centre + support * stretch + 0.5));
  const values = [];
  for (let at = first; at < end; at += 1) values.push(weight((at - centre + 0.5) / stretch));
  const total = values.reduce((sum, value) => sum + value, 0);
  const fixed = values.map((value) => Math.trunc((value / total) * 2 ** BITS + (value / total < 0 ? -0.5 : 0.5)));
  return { first, fixed };
}

function weighted(pixels, { first, fixed }, start, step) {
  let sum = 2 ** (BITS - 1);
  for (let tap = 0; tap < fixed.length; tap += 1) sum += pixels[start + (first + tap) * step] * fixed[tap];
  return sum >> BITS; // clamped to 0–255 by the array that takes it
}
