// Pictures as files: what is kept of a result, small copies for grids, addresses for <img>.
import { addPicture, take } from "./store.js";

const SMALL = 384;
const urls = new Map();
const KEPT_URLS = 400;

/** Keep a result that arrived, once. */
export async function keepPicture(record, blob) {
  await addPicture(record, { full: blob, small: await smaller(blob) });
}

/** A copy of at most SMALL pixels a side; the picture itself where it is small, or can't be read here. */
async function smaller(blob) {
  try {
    const bitmap = await createImageBitmap(blob);
    const scale = SMALL / Math.max(bitmap.width, bitmap.height);
    if (scale >= 1) return blob;
    const canvas = new OffscreenCanvas(Math.round(bitmap.width * scale), Math.round(bitmap.height * scale));
    const pen = canvas.getContext("2d");
    pen.imageSmoothingQuality = "high";
    pen.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
    return await canvas.convertToBlob({ type: "image/webp", quality: 0.86 });
  } catch {
    return blob;
  }
}

export async function fileOf(id) {
  return (await take("files", id))?.full ?? null;
}

/** An address of the picture, "full" or "small". The oldest addresses are given back. */
export async function urlOf(id, size = "small") {
  const key = `${size}/${id}`;
  if (!urls.has(key)) {
    const files = await take("files", id);
    if (!files) return "";
    if (!urls.has(key)) urls.set(key, URL.createObjectURL(files[size] ?? files.full));
  }
  const url = urls.get(key);
  urls.delete(key);
  urls.set(key, url);
  for (const [oldest, address] of urls) {
    if (urls.size <= KEPT_URLS) break;
    urls.delete(oldest);
    URL.revokeObjectURL(address);
  }
  return url;
}

/** Give the <img> its picture as soon as it is read. */
export async function fill(img, id, size = "small") {
  const url = await urlOf(id, size);
  if (url) img.src = url;
  return img;
}

export async function bitmapOf(id) {
  const file = await fileOf(id);
  return file ? createImageBitmap(file) : null;
}

/** Base64 of a blob, without the head of a data: address. */
export async function base64(blob) {
  const reader = new FileReader();
  await new Promise((resolve, reject) => {
    reader.onload = resolve;
    reader.onerror = () => reject(reader.error);
    reader.readAsDataURL(blob);
  });
  return reader.result.slice(reader.result.indexOf(",") + 1);
}

export function download(blob, name) {
  const url = URL.createObjectURL(blob);
  const link = document.createElement("a");
  link.href = url;
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 30_000);
}
