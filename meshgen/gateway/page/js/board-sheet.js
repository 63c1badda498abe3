// The page on the screen: what will be saved, with buttons on it.
import { h, show } from "./dom.js";
import { choices } from "./fields.js";
import { icon } from "./icons.js";
import { Tile } from "./job-card.js";
import { download, fill } from "./pictures.js";
import { pdfOf } from "./pdf.js";
import { layOut, LAYOUTS } from "./sheet.js";
import { drawSheet, inksOf } from "./sheet-canvas.js";
import { sidesNow } from "./size-field.js";
import { toastError } from "./toast.js";

export class BoardSheet {
  constructor(board) {
    this.board = board;
    this.tiles = new Map();
    this.sheet = h("div", { class: "paper", role: "group", "aria-label": "The page" });
    const layouts = choices("Layout", LAYOUTS, board.values.layout, (layout) => board.set({ layout }), { hidden: true });
    const save = (name, label, run) =>
      h("button", { class: "button small", type: "button", onclick: () => run().catch(toastError) }, icon(name), label);
    this.element = h(
      "section",
      { class: "story-page", "aria-label": "Page" },
      h(
        "div",
        { class: "row wrap" },
        h("div", { class: "grow" }, layouts),
        save("save", "PNG", () => this.savePng()),
        save("save", "PDF", () => this.savePdf()),
      ),
      this.sheet,
    );
    board.addEventListener("change", () => this.layOut());
    board.addEventListener("panel", () => this.layOut());
    this.layOut();
  }

  get ratio() {
    const [width, height] = sidesNow(this.board);
    return width / height;
  }

  layOut() {
    const { board } = this;
    const page = layOut(board.values, board.panels.length, this.ratio);
    const [paper, ink, none] = inksOf(board.values.paper);
    for (const [name, value] of Object.entries({
      "--paper": paper,
      "--paper-ink": ink,
      "--paper-none": none,
      "--page": page.width / page.height,
      "--caption": `${page.size / 10}cqw`,
    }))
      this.sheet.style.setProperty(name, value);
    const title = page.title ? h("p", { class: "paper-title" }, board.values.title) : null;
    if (title) place(title, page, { x: 44, y: page.title - 20, w: page.width - 88, h: 44 });
    show(
      this.sheet,
      title,
      board.panels.map((panel, at) => this.panel(panel, at, page)),
    );
    this.update();
  }

  panel(panel, at, page) {
    const box = page.boxes[at];
    const frame = h("div", { class: "frame" }, panel.picture ? this.picture(panel, at) : h("span", { class: "number" }, at + 1));
    place(frame, page, box);
    const roll = h(
      "button",
      {
        class: "roll",
        type: "button",
        title: "Draw this panel again, with another seed",
        "aria-label": `Draw panel ${at + 1} again`,
        disabled: !panel.text.trim(),
        onclick: () => this.board.draw([panel], true).catch(toastError),
      },
      icon("dice"),
    );
    const live = h("ul", { class: "live", hidden: true });
    frame.append(live, roll);
    this.tiles.set(panel.id, { live, tile: null });
    const caption = box.caption > 0 && h("p", { class: "paper-caption" }, panel.caption);
    if (caption) place(caption, page, { x: box.x, y: box.y + box.h + 6, w: box.w, h: box.caption - 10 });
    return [frame, caption];
  }

  picture(panel, at) {
    const picture = h("img", { alt: panel.caption || panel.text || `panel ${at + 1}` });
    fill(picture, panel.picture, "full").catch(toastError);
    const open = async () => (await import("./viewer.js")).openViewer(panel.picture);
    return h("button", { type: "button", class: "tile-open", onclick: () => open().catch(toastError) }, picture);
  }

  /** What is being drawn shows on its panel. */
  update() {
    for (const panel of this.board.panels) {
      const place = this.tiles.get(panel.id);
      const job = this.board.jobOf(panel);
      if (!place) continue;
      place.live.hidden = !job;
      if (!job) {
        show(place.live);
        place.tile = null;
        continue;
      }
      if (!place.tile) {
        place.tile = new Tile(() => {});
        place.live.append(place.tile.element);
      }
      place.tile.update(job.tiles[0], job);
    }
  }

  /** On a narrow screen the page lies below the words. */
  reveal() {
    if (this.element.getBoundingClientRect().top > window.innerHeight / 2)
      this.element.scrollIntoView({ behavior: "smooth", block: "start" });
  }

  get name() {
    return (
      (this.board.values.title || "storyboard")
        .toLowerCase()
        .match(/[\p{L}\p{N}]+/gu)
        ?.join("-") ?? "storyboard"
    );
  }

  async blob(type, quality) {
    const canvas = await drawSheet(this.board, this.ratio);
    const blob = await new Promise((resolve) => canvas.toBlob(resolve, type, quality));
    return { canvas, blob };
  }

  async savePng() {
    const { blob } = await this.blob("image/png");
    download(blob, `${this.name}.png`);
  }

  async savePdf() {
    const { canvas, blob } = await this.blob("image/jpeg", 0.93);
    download(await pdfOf(blob, canvas.width, canvas.height, this.board.values.title), `${this.name}.pdf`);
  }
}

/** Put an element where its box is, whatever size the page is shown in. */
function place(element, page, { x, y, w, h: tall }) {
  const share = (value, all) => `${(100 * value) / all}%`;
  for (const [name, value] of [
    ["left", share(x, page.width)],
    ["top", share(y, page.height)],
    ["width", share(w, page.width)],
    ["height", share(tall, page.height)],
  ])
    element.style.setProperty(name, value);
}
