// The window in which a mask is painted: by mouse, finger, pen or keys.
import { openDialog } from "./dialog.js";
import { h, show } from "./dom.js";
import { icon } from "./icons.js";
import { Mask, opaqueOf } from "./mask.js";
import { say } from "./toast.js";

const STRIPES = ["#ff2e74cc", "#2a0016a0"];

/** Stripes are seen on any picture, of whatever colour. */
function striped(pen, side) {
  const tile = new OffscreenCanvas(16, 16);
  const stroke = tile.getContext("2d");
  stroke.fillStyle = STRIPES[1];
  stroke.fillRect(0, 0, 16, 16);
  stroke.strokeStyle = STRIPES[0];
  stroke.lineWidth = 7;
  for (const at of [-16, 0, 16]) {
    stroke.moveTo(at, 16);
    stroke.lineTo(at + 16, 0);
  }
  stroke.stroke();
  const pattern = pen.createPattern(tile, "repeat");
  pattern.setTransform(new DOMMatrix().scale(side / 900));
  return pattern;
}

export async function paintMask(form) {
  const picture = await createImageBitmap(form.source);
  const mask = new Mask(picture.width, picture.height, form.mask && (await opaqueOf(form.mask)));
  const painter = new Painter(picture, mask);
  const use = async () => {
    await form.setMask(mask.marked() ? await mask.png() : null);
    box.close();
  };
  const box = openDialog({
    title: "Paint what is to be drawn anew",
    body: [painter.tools, painter.stage],
    footer: [
      h("button", { class: "button", type: "button", onclick: () => box.close() }, "Cancel"),
      h("button", { class: "button main-action", type: "button", onclick: use }, icon("check"), "Use this mask"),
    ],
    className: "painter",
  });
  box.addEventListener("keydown", (event) => painter.key(event));
  painter.canvas.focus();
}

class Painter {
  constructor(picture, mask) {
    Object.assign(this, { picture, mask, erase: false, at: [picture.width / 2, picture.height / 2] });
    this.size = Math.max(4, Math.round(Math.max(picture.width, picture.height) / 8));
    this.canvas = h("canvas", {
      tabindex: 0,
      role: "img",
      "aria-label": "The picture with its mask. Arrow keys move the brush, space paints.",
      width: picture.width,
      height: picture.height,
    });
    this.ring = h("div", { class: "ring", hidden: true });
    this.stage = h("div", { class: "stage" }, h("div", { class: "sheet" }, this.canvas, this.ring));
    this.pen = this.canvas.getContext("2d");
    this.tint = new OffscreenCanvas(picture.width, picture.height);
    this.stripes = striped(this.pen, Math.max(picture.width, picture.height));
    this.canvas.style.setProperty("--ratio", picture.width / picture.height);
    this.tools = h("div", { class: "tools row wrap", role: "toolbar", "aria-label": "Tools" });
    this.makeTools();
    this.listen();
    this.paint();
  }

  makeTools() {
    const tool = (name, label, run) =>
      h(
        "button",
        { class: "button icon small", type: "button", title: label, "aria-label": label, onclick: () => (run(), this.paint()) },
        icon(name),
      );
    this.brush = tool("brush", "Brush", () => this.choose(false));
    this.eraser = tool("eraser", "Eraser (X)", () => this.choose(true));
    const most = Math.max(this.picture.width, this.picture.height) / 2;
    this.slider = h("input", {
      type: "range",
      min: 1,
      max: Math.round(most),
      value: this.size,
      "aria-label": "Width of the brush",
    });
    this.slider.addEventListener("input", () => this.resize(Number(this.slider.value)));
    this.undo = tool("undo", "Undo", () => this.mask.undo());
    this.redo = tool("redo", "Redo", () => this.mask.redo());
    const invert = tool("invert", "Swap painted and not", () => this.mask.invert());
    const clear = tool("bin", "Clear", () => this.mask.clear());
    show(
      this.tools,
      this.brush,
      this.eraser,
      h("div", { class: "grow width" }, this.slider),
      this.undo,
      this.redo,
      invert,
      clear,
    );
    this.resize(this.size);
    this.choose(false);
  }

  choose(erase) {
    this.erase = erase;
    this.brush.setAttribute("aria-pressed", String(!erase));
    this.eraser.setAttribute("aria-pressed", String(erase));
  }

  resize(size) {
    this.size = Math.min(Number(this.slider.max), Math.max(1, Math.round(size)));
    this.slider.value = this.size;
    this.slider.style.setProperty("--filled", `${(100 * (this.size - 1)) / (this.slider.max - 1)}%`);
    this.showRing();
  }

  listen() {
    const { canvas } = this;
    canvas.addEventListener("pointerdown", (event) => this.down(event));
    canvas.addEventListener("pointermove", (event) => this.move(event));
    canvas.addEventListener("pointerleave", () => (this.ring.hidden = true));
    for (const end of ["pointerup", "pointercancel"]) canvas.addEventListener(end, () => (this.drawing = false));
  }

  point(event) {
    const box = this.canvas.getBoundingClientRect();
    const scale = this.picture.width / box.width;
    const pressed = event.pointerType === "pen" && event.pressure ? 0.3 + 0.7 * event.pressure : 1;
    return [(event.clientX - box.left) * scale, (event.clientY - box.top) * scale, this.size * pressed];
  }

  down(event) {
    if (event.button > 0 && event.button !== 5) return; // 5 is a pen's own eraser
    event.preventDefault();
    this.canvas.focus();
    this.canvas.setPointerCapture(event.pointerId);
    this.drawing = true;
    this.mask.begin(this.erase || event.button === 5, this.point(event));
    this.paint();
  }

  move(event) {
    const points = (event.getCoalescedEvents?.().length ? event.getCoalescedEvents() : [event]).map((one) => this.point(one));
    this.at = points.at(-1).slice(0, 2);
    this.showRing();
    if (!this.drawing) return;
    for (const point of points) this.mask.extend(point);
    this.paint();
  }

  showRing() {
    const share = (value, all) => `${(100 * value) / all}%`;
    this.ring.hidden = false;
    for (const [name, value] of [
      ["left", share(this.at[0], this.picture.width)],
      ["top", share(this.at[1], this.picture.height)],
      ["width", share(this.size, this.picture.width)],
    ])
      this.ring.style.setProperty(name, value);
  }

  key(event) {
    const word = event.key.toLowerCase();
    const arrows = { arrowleft: [-1, 0], arrowright: [1, 0], arrowup: [0, -1], arrowdown: [0, 1] };
    if ((event.ctrlKey || event.metaKey) && (word === "z" || word === "y"))
      word === "y" || event.shiftKey ? this.mask.redo() : this.mask.undo();
    else if (event.ctrlKey || event.metaKey || event.altKey) return;
    else if (word === "x") (this.choose(!this.erase), say(this.erase ? "Eraser" : "Brush"));
    else if (word === "[" || word === "]") this.resize(this.size * (word === "]" ? 1.2 : 1 / 1.2));
    else if (event.target === this.canvas && word in arrows) this.step(arrows[word]);
    else if (event.target === this.canvas && word === " ") this.mask.begin(this.erase, [...this.at, this.size]);
    else return;
    event.preventDefault();
    this.paint();
  }

  step([x, y]) {
    const far = Math.max(1, this.size / 2);
    const within = (value, all) => Math.min(all, Math.max(0, value));
    this.at = [within(this.at[0] + far * x, this.picture.width), within(this.at[1] + far * y, this.picture.height)];
    this.showRing();
  }

  paint() {
    const { pen, tint, canvas } = this;
    const colour = tint.getContext("2d");
    colour.globalCompositeOperation = "copy";
    colour.drawImage(this.mask.canvas, 0, 0);
    colour.globalCompositeOperation = "source-in";
    colour.fillStyle = this.stripes;
    colour.fillRect(0, 0, tint.width, tint.height);
    pen.clearRect(0, 0, canvas.width, canvas.height);
    pen.drawImage(this.picture, 0, 0);
    pen.globalAlpha = 0.8;
    pen.drawImage(tint, 0, 0);
    pen.globalAlpha = 1;
    this.undo.disabled = this.mask.done.length === 0;
    this.redo.disabled = this.mask.undone.length === 0;
  }
}
