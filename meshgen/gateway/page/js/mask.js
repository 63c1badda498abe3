// A mask as the strokes that made it: so that any of them can be undone.

/** Painted parts are opaque. Sides are the picture's. */
export class Mask {
  constructor(width, height, first = null) {
    this.canvas = new OffscreenCanvas(width, height);
    this.pen = this.canvas.getContext("2d");
    this.first = first; // an ImageBitmap of the mask that there was
    this.done = [];
    this.undone = [];
    this.redraw();
  }

  get empty() {
    return !this.first && this.done.length === 0;
  }

  /** Begins a stroke: {erase, points: [[x, y, width], ...]} in the picture's pixels. */
  begin(erase, point) {
    this.do({ kind: "stroke", erase, points: [point] });
  }

  extend(point) {
    const stroke = this.done.at(-1);
    this.draw({ ...stroke, points: [stroke.points.at(-1), point] });
    stroke.points.push(point);
  }

  invert() {
    this.do({ kind: "invert" });
  }

  clear() {
    this.do({ kind: "clear" });
  }

  do(step) {
    this.done.push(step);
    this.undone = [];
    this.draw(step);
  }

  undo() {
    if (!this.done.length) return;
    this.undone.push(this.done.pop());
    this.redraw();
  }

  redo() {
    if (!this.undone.length) return;
    this.done.push(this.undone.pop());
    this.draw(this.done.at(-1));
  }

  redraw() {
    this.pen.clearRect(0, 0, this.canvas.width, this.canvas.height);
    if (this.first) this.pen.drawImage(this.first, 0, 0, this.canvas.width, this.canvas.height);
    for (const step of this.done) this.draw(step);
  }

  draw(step) {
    const { pen, canvas } = this;
    pen.globalCompositeOperation = {
      stroke: step.erase ? "destination-out" : "source-over",
      invert: "source-out",
      clear: "source-over",
    }[step.kind];
    pen.fillStyle = pen.strokeStyle = "#fff";
    if (step.kind === "stroke") this.stroke(step.points);
    else if (step.kind === "invert") pen.fillRect(0, 0, canvas.width, canvas.height);
    else pen.clearRect(0, 0, canvas.width, canvas.height);
    pen.globalCompositeOperation = "source-over";
  }

  stroke(points) {
    const { pen } = this;
    pen.lineCap = "round";
    let [x, y, width] = points[0];
    pen.beginPath();
    pen.arc(x, y, width / 2, 0, 2 * Math.PI);
    pen.fill();
    for (const [nextX, nextY, nextWidth] of points.slice(1)) {
      pen.lineWidth = nextWidth;
      pen.beginPath();
      pen.moveTo(x, y);
      pen.lineTo(nextX, nextY);
      pen.stroke();
      [x, y] = [nextX, nextY];
    }
  }

  /** As the node takes it: white is painted anew, black stays. */
  async png() {
    const { width, height } = this.canvas;
    const flat = new OffscreenCanvas(width, height);
    const pen = flat.getContext("2d");
    pen.fillRect(0, 0, width, height);
    pen.drawImage(this.canvas, 0, 0);
    return flat.convertToBlob({ type: "image/png" });
  }

  /** Is anything painted at all? */
  marked() {
    const { data } = this.pen.getImageData(0, 0, this.canvas.width, this.canvas.height);
    for (let at = 3; at < data.length; at += 4) if (data[at] > 127) return true;
    return false;
  }
}

/** A kept mask's white as what is opaque. */
export async function opaqueOf(blob) {
  const bitmap = await createImageBitmap(blob);
  const canvas = new OffscreenCanvas(bitmap.width, bitmap.height);
  const pen = canvas.getContext("2d");
  pen.drawImage(bitmap, 0, 0);
  const image = pen.getImageData(0, 0, canvas.width, canvas.height);
  for (let at = 0; at < image.data.length; at += 4) {
    image.data[at + 3] = image.data[at];
    image.data.fill(255, at, at + 3);
  }
  pen.putImageData(image, 0, 0);
  return createImageBitmap(canvas);
}
