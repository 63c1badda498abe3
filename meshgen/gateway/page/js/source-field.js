// The picture to start from: chosen, dropped or pasted; how much of it is given up; which part is painted anew.
import { bound, faultOf, slider } from "./fields.js";
import { h, newId, show } from "./dom.js";
import { icon } from "./icons.js";
import { modelNamed, sidesOf } from "./models.js";
import { toast, toastError } from "./toast.js";

const KINDS = ["image/png", "image/jpeg", "image/webp"];
const MAX_BYTES = 16 * 1024 * 1024;
const MAX_SIDE = 4096;

export function sourceField(form) {
  const box = h("div", { class: "stack tight" });
  const strength = slider(form, "strength", "How much to change", {
    min: 0,
    max: 1,
    step: 0.01,
    hint: "Little keeps the picture, much keeps its rough shape alone.",
  });
  bound(form, ["source", "mask"], () => show(box, form.source ? [shown(form), strength] : chooser(form)));
  return h(
    "div",
    { class: "field" },
    h("span", { class: "label" }, "Start from a picture"),
    box,
    faultOf("source"),
    faultOf("mask"),
  );
}

function chooser(form) {
  const id = newId("file");
  const input = h("input", {
    id,
    class: "unseen",
    type: "file",
    accept: KINDS.join(","),
    onchange: () => input.files[0] && takeFile(form, input.files[0]).catch(toastError),
  });
  const label = h("label", { class: "drop", for: id }, icon("image"), h("span", {}, "Choose, drop or paste a picture"));
  return h("div", { class: "drop-box" }, input, label);
}

/** A file from anywhere. What the API would not take (too large, another kind) is made to fit here. */
export async function takeFile(form, file) {
  const bitmap = await createImageBitmap(file).catch(() => null);
  if (!bitmap) throw new Error("That file is no picture that this browser can read.");
  const fits = KINDS.includes(file.type) && file.size <= MAX_BYTES && Math.max(bitmap.width, bitmap.height) <= MAX_SIDE;
  await form.setSource(fits ? file : await redrawn(bitmap));
  const side = modelNamed(form.values.model)?.default_side ?? 512;
  const [width, height] = sidesOf(side, bitmap.width, bitmap.height);
  form.set(width === height ? { width: 0, height: 0 } : { width, height });
}

function redrawn(bitmap) {
  const scale = Math.min(1, MAX_SIDE / Math.max(bitmap.width, bitmap.height));
  const canvas = new OffscreenCanvas(Math.round(bitmap.width * scale), Math.round(bitmap.height * scale));
  canvas.getContext("2d").drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  return canvas.convertToBlob({ type: "image/jpeg", quality: 0.95 });
}

function shown(form) {
  const picture = h("img", { src: URL.createObjectURL(form.source), alt: "The picture to start from" });
  picture.addEventListener("load", () => URL.revokeObjectURL(picture.src), { once: true });
  const cover = form.mask && h("span", { class: "tag accent" }, "masked");
  const paint = async () => (await import("./painter.js")).paintMask(form);
  return h(
    "div",
    { class: "source" },
    h("div", { class: "thumb" }, picture, cover),
    h(
      "div",
      { class: "stack tight" },
      h(
        "div",
        { class: "row wrap" },
        h(
          "button",
          { class: "button small", type: "button", onclick: () => paint().catch(toastError) },
          icon("brush"),
          form.mask ? "Change the mask" : "Paint a mask",
        ),
      ),
      h(
        "div",
        { class: "row wrap" },
        form.mask &&
          h("button", { class: "button small plain", type: "button", onclick: () => form.setMask(null) }, "Without mask"),
        h(
          "button",
          { class: "button small plain", type: "button", onclick: () => form.setSource(null) },
          icon("close"),
          "Take it away",
        ),
      ),
    ),
  );
}

/** Dropping and pasting anywhere in the view. Returns what ends it. */
export function takeAnywhere(form, view) {
  const over = (event) => {
    if (![...event.dataTransfer.types].includes("Files")) return;
    event.preventDefault();
    view.classList.add("dropping");
  };
  const end = () => view.classList.remove("dropping");
  const drop = (event) => {
    event.preventDefault();
    end();
    offered(form, event.dataTransfer.files);
  };
  const paste = (event) => event.clipboardData.files.length && (event.preventDefault(), offered(form, event.clipboardData.files));
  const stop = new AbortController();
  const listen = (target, name, f) => target.addEventListener(name, f, { signal: stop.signal });
  listen(view, "dragover", over);
  listen(view, "dragleave", (event) => !view.contains(event.relatedTarget) && end());
  listen(view, "drop", drop);
  listen(document, "paste", paste);
  return () => stop.abort();
}

function offered(form, files) {
  const picture = [...files].find((file) => file.type.startsWith("image/"));
  if (!picture) toast("That is no picture.", { bad: true });
  else takeFile(form, picture).then(() => toast("The next pictures start from this one."), toastError);
}
