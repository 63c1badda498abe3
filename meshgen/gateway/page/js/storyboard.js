// Storyboard: some panels that share a style, drawn together and laid out as a page.
import { post } from "./api.js";
import { boards, Board, dropBoard, FEWEST, MOST } from "./board.js";
import { BoardSheet } from "./board-sheet.js";
import { confirmed } from "./dialog.js";
import { h, settled, show } from "./dom.js";
import { area, bound, check, choices, field, slider } from "./fields.js";
import { count, kudos } from "./format.js";
import { icon } from "./icons.js";
import { jobs } from "./jobs.js";
import { keep, kept } from "./keeping.js";
import { modelField } from "./model-field.js";
import { meshModels } from "./models.js";
import { sizeField } from "./size-field.js";
import { say, toastError } from "./toast.js";

const POLICIES = [
  ["consecutive", "One after the other"],
  ["same", "The same for all"],
  ["free", "Any"],
];
const PAPERS = [
  ["white", "White"],
  ["cream", "Cream"],
  ["black", "Black"],
];

class Storyboard {
  constructor(box, all, board) {
    Object.assign(this, { box, all, board });
    this.stop = new AbortController();
    const listen = (target, name, f) => target.addEventListener(name, f, { signal: this.stop.signal });
    this.sheet = new BoardSheet(board);
    this.panels = h("ol", { class: "stack tight" });
    this.problem = h("p", { class: "error", role: "alert" });
    this.price = h("span", { class: "small quiet", "aria-live": "polite" });
    this.buttons = h("div", { class: "row wrap" });
    show(
      box,
      this.head(),
      h("div", { class: "story" }, h("div", { class: "story-form" }, this.form(), this.foot()), this.sheet.element),
    );
    const ask = settled(() => this.ask(), 350);
    listen(board, "change", ({ detail }) => (detail.has("panels") && this.showPanels(), this.showButtons(), ask()));
    listen(board, "panel", () => this.showButtons());
    listen(jobs, "change", () => (this.sheet.update(), this.showButtons()));
    listen(jobs, "picture", () => board.catchUp().catch(toastError));
    this.showPanels();
    this.showButtons();
    board.catchUp().catch(toastError);
    meshModels().then(
      () => board.tell(["mesh"]),
      () => {},
    );
  }

  head() {
    const names = h(
      "select",
      {
        class: "input",
        "aria-label": "Which storyboard",
        onchange: () => reopen(this.box, this.all, this.all[names.selectedIndex]),
      },
      this.all.map((one, at) =>
        h("option", { selected: one === this.board }, one.values.title || `Storyboard ${this.all.length - at}`),
      ),
    );
    const add = () => reopen(this.box, [new Board(), ...this.all]);
    return h(
      "header",
      { class: "head" },
      h("div", {}, h("h1", { tabindex: "-1" }, "Storyboard"), h("p", {}, "A few panels, one style, one page.")),
      h(
        "div",
        { class: "row push" },
        this.all.length > 1 && names,
        h("button", { class: "button small", type: "button", onclick: add }, icon("plus"), "New"),
        h(
          "button",
          {
            class: "button small icon plain",
            type: "button",
            title: "Delete this storyboard",
            "aria-label": "Delete this storyboard",
            onclick: () => this.remove().catch(toastError),
          },
          icon("bin"),
        ),
      ),
    );
  }

  form() {
    const { board } = this;
    const title = h("input", { class: "input", maxlength: 80, value: board.values.title, placeholder: "May stay empty" });
    title.addEventListener("input", () => board.set({ title: title.value }));
    const one = (key, legend, options) => choices(legend, options, board.values[key], (value) => board.set({ [key]: value }));
    return [
      field("Title", title),
      area(board, "style", "Style of all panels", { rows: 2, placeholder: "watercolour, soft light, the same red-haired girl" }),
      h("section", { class: "stack tight", "aria-label": "Panels" }, this.counter(), this.panels),
      modelField(board),
      sizeField(board),
      h(
        "details",
        { class: "more" },
        h("summary", {}, "Quality and seeds"),
        h(
          "div",
          { class: "stack" },
          area(board, "negative_prompt", "Without", { rows: 1 }),
          slider(board, "steps", "Steps", { min: 1, max: 1000, soft: 80 }),
          slider(board, "guidance_scale", "Guidance", { min: 0, max: 100, soft: 20, step: 0.1 }),
          one("policy", "Seeds", POLICIES),
          this.seed(),
        ),
      ),
      h(
        "details",
        { class: "more" },
        h("summary", {}, "Paper"),
        h("div", { class: "stack" }, one("paper", "Colour", PAPERS), check(board, "captions", "Captions below the panels")),
      ),
    ];
  }

  seed() {
    const box = h("input", { class: "input num", type: "number", min: 0, max: 2 ** 32 - 1, inputmode: "numeric" });
    box.addEventListener("change", () =>
      this.board.set({ seed: Math.min(2 ** 32 - 1, Math.max(0, Math.round(Number(box.value)) || 0)) }),
    );
    bound(this.board, ["seed"], () => (box.value = this.board.values.seed));
    return field("First seed", box);
  }

  counter() {
    const { board } = this;
    const number = h("output", { class: "num" });
    const change = (by) => (
      board.resize(Math.min(MOST, Math.max(FEWEST, board.panels.length + by))),
      say(`${board.panels.length} panels`)
    );
    bound(board, ["panels"], () => (number.textContent = board.panels.length));
    const button = (name, label, by) =>
      h(
        "button",
        { class: "button plain icon small", type: "button", "aria-label": label, onclick: () => change(by) },
        icon(name),
      );
    return h(
      "div",
      { class: "row" },
      h("h2", { class: "grow" }, "Panels"),
      h("div", { class: "counter low" }, button("minus", "Fewer panels", -1), number, button("plus", "More panels", 1)),
    );
  }

  showPanels() {
    show(
      this.panels,
      this.board.panels.map((panel, at) => this.panel(panel, at)),
    );
  }

  panel(panel, at) {
    const { board } = this;
    const text = h("textarea", {
      class: "input",
      rows: 2,
      maxlength: 4000,
      placeholder: "What is seen",
      "aria-label": `Panel ${at + 1}: what is seen`,
    });
    const caption = h("input", {
      class: "input",
      maxlength: 160,
      placeholder: "Caption",
      "aria-label": `Panel ${at + 1}: caption`,
    });
    [text.value, caption.value] = [panel.text, panel.caption];
    text.addEventListener("input", () => board.setPanel(panel, { text: text.value }));
    caption.addEventListener("input", () => board.setPanel(panel, { caption: caption.value }));
    const move = (name, label, by, off) =>
      h(
        "button",
        {
          class: "button plain icon tiny turned",
          type: "button",
          disabled: off,
          "aria-label": label,
          onclick: () => board.move(panel, by),
        },
        icon(name),
      );
    return h(
      "li",
      { class: "panel-words" },
      h(
        "div",
        { class: "panel-number" },
        h("strong", { class: "num" }, at + 1),
        move("left", `Move panel ${at + 1} up`, -1, at === 0),
        move("right", `Move panel ${at + 1} down`, 1, at === board.panels.length - 1),
      ),
      h("div", { class: "stack tight" }, text, caption),
    );
  }

  foot() {
    return h("div", { class: "story-foot" }, this.problem, this.price, this.buttons);
  }

  showButtons() {
    const { board } = this;
    const ready = board.panels.filter((panel) => panel.text.trim());
    const missing = ready.filter((panel) => !panel.picture && !board.jobOf(panel));
    const running = board.panels.map((panel) => board.jobOf(panel)).filter(Boolean);
    const some = missing.length > 0 && missing.length < ready.length;
    const draw = (panels) => this.draw(panels);
    show(
      this.buttons,
      running.length > 0 &&
        h(
          "button",
          { class: "button", type: "button", onclick: () => Promise.allSettled(running.map((job) => jobs.cancel(job))) },
          icon("stop"),
          "Cancel",
        ),
      some &&
        h("button", { class: "button", type: "button", onclick: () => draw(missing) }, `Draw the missing ${missing.length}`),
      h(
        "button",
        { class: "button main-action grow", type: "button", disabled: ready.length === 0, onclick: () => draw(ready) },
        icon("story"),
        ready.length ? `Draw ${count(ready.length, "panel")}` : "Say what is seen in a panel",
      ),
    );
  }

  async draw(panels) {
    this.problem.textContent = "";
    try {
      await this.board.draw(panels);
      say(`${count(panels.length, "panel")} asked for`);
      this.sheet.reveal();
    } catch (error) {
      this.problem.textContent = [error.message, error.hint].filter(Boolean).join(" · ");
    }
  }

  async ask() {
    try {
      const quote = await post("/v1/jobs", { ...this.board.requestOf(this.board.panels[0]), prompt: "-", dry_run: true });
      const each = quote.own ? 0 : (quote.levels.find((level) => level.in_reach)?.mkudos ?? quote.tariff_mkudos);
      show(
        this.price,
        each ? `about ${kudos(each)} kudos a panel · ${count(quote.workers_in_reach, "worker")} can` : "free on this node itself",
      );
      this.problem.textContent = "";
    } catch (error) {
      show(this.price);
      this.problem.textContent = error.message;
    }
  }

  async remove() {
    if (!(await confirmed("Delete this storyboard?", "Its words go; the pictures stay in the gallery.", "Delete"))) return;
    await dropBoard(this.board);
    const rest = this.all.filter((one) => one !== this.board);
    reopen(this.box, rest.length ? rest : [new Board()]);
  }
}

let shown = null;

function reopen(box, all, board = all[0]) {
  shown?.stop.abort();
  keep("board", board.id);
  shown = new Storyboard(box, all, board);
  shown.ask();
}

function open(box) {
  boards().then((all) => reopen(box, all, all.find((one) => one.id === kept("board", "")) ?? all[0]), toastError);
  return () => shown?.stop.abort();
}

export default { title: "Storyboard", open };
