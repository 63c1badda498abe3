// Width and height: shapes that suit the model, or any.
import { bound, clamp, faultOf } from "./fields.js";
import { h, newId, s, show } from "./dom.js";
import { modelNamed, SHAPES, sidesOf } from "./models.js";

const MAX_SIDE = 8192;
const BOX = 20;

/** The sides that the form stands for now. */
export function sidesNow(form) {
  const side = modelNamed(form.values.model)?.default_side ?? 512;
  return [form.values.width || side, form.values.height || side];
}

export function sizeField(form) {
  const shapes = h("div", { class: "shapes" });
  const [across, down] = ["width", "height"].map((key) => sideInput(form, key));
  bound(form, ["width", "height", "model", "mesh", "source"], () => {
    const sides = sidesNow(form);
    [across.value, down.value] = sides;
    show(shapes, shapeButtons(form, sides));
  });
  const swap = h("button", { class: "button plain small", type: "button", onclick: () => turned(form) }, "Turn");
  return h(
    "fieldset",
    { class: "field" },
    h("legend", {}, "Shape"),
    shapes,
    h("div", { class: "sides" }, across, h("span", { class: "faint", "aria-hidden": "true" }, "×"), down, swap),
    faultOf("width"),
    faultOf("height"),
  );
}

function turned(form) {
  const [width, height] = sidesNow(form);
  form.set({ width: height, height: width });
}

function sideInput(form, key) {
  const box = h("input", {
    class: "input num",
    id: newId("side"),
    type: "number",
    min: 8,
    max: MAX_SIDE,
    step: 8,
    inputmode: "numeric",
    "aria-label": `${key === "width" ? "Width" : "Height"} in pixels`,
  });
  box.addEventListener("change", () => {
    const [width, height] = sidesNow(form);
    form.set({ width, height, [key]: Math.round(clamp(Number(box.value), 8, MAX_SIDE) / 8) * 8 });
  });
  return box;
}

function shapeButtons(form, [width, height]) {
  const side = modelNamed(form.values.model)?.default_side ?? 512;
  return SHAPES.map(([label, across, down]) => {
    const sides = sidesOf(side, across, down);
    const on = sides[0] === width && sides[1] === height;
    const pickIt = () => form.set(across === down ? { width: 0, height: 0 } : { width: sides[0], height: sides[1] });
    return h(
      "button",
      { type: "button", class: "shape", "aria-pressed": String(on), title: `${sides[0]} × ${sides[1]}`, onclick: pickIt },
      outline(across, down),
      label,
    );
  });
}

function outline(across, down) {
  const scale = BOX / Math.max(across, down);
  const [w, tall] = [across * scale, down * scale];
  return s(
    "svg",
    { viewBox: "0 0 24 24", "aria-hidden": "true" },
    s("rect", {
      x: 12 - w / 2,
      y: 12 - tall / 2,
      width: w,
      height: tall,
      rx: 2.5,
      fill: "none",
      stroke: "currentColor",
      "stroke-width": 1.7,
    }),
  );
}
