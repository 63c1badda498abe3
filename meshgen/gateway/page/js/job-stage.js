// Where jobs are seen: those under way and the last ones that are over.
import { art, icon } from "./icons.js";
import { h, show } from "./dom.js";
import { JobCard } from "./job-card.js";
import { jobs } from "./jobs.js";
import { modelNamed } from "./models.js";
import { toastError } from "./toast.js";

const IDEAS = [
  "a lighthouse on a cliff at dusk, warm light in its windows, oil painting",
  "a fox asleep in a teacup, soft morning light, children's book illustration",
  "an old library in a giant tree, lanterns, mist, wide shot",
];
const SHAPES_IDEAS = [
  "a red circle above a blue square on a yellow background",
  "a green star left of a white triangle on a purple background",
  "a small yellow circle on a black background",
];

export class JobStage {
  constructor(form) {
    this.form = form;
    this.cards = new Map();
    this.list = h("div", { class: "stack" });
    this.bar = h("div", { class: "row wrap stage-bar" });
    this.element = h("section", { class: "stage-area", "aria-label": "Results" }, this.bar, this.list);
    this.onchange = ({ detail }) => this.update(detail);
    jobs.addEventListener("change", this.onchange);
    this.onform = ({ detail }) => detail.has("mesh") && !jobs.list.length && this.layOut();
    form.addEventListener("change", this.onform);
    this.layOut();
  }

  close() {
    jobs.removeEventListener("change", this.onchange);
    this.form.removeEventListener("change", this.onform);
  }

  update(job) {
    const card = job && this.cards.get(job.id);
    if (card) card.update();
    if (!card || this.shown !== this.standing()) this.layOut();
  }

  /** What the layout depends on. */
  standing() {
    return `${jobs.list.map((job) => job.id)} ${jobs.running.length}`;
  }

  layOut() {
    this.shown = this.standing();
    const mine = jobs.list.filter((job) => !job.board);
    for (const id of this.cards.keys()) if (!mine.some((job) => job.id === id)) this.cards.delete(id);
    for (const job of mine)
      if (!this.cards.has(job.id)) this.cards.set(job.id, new JobCard(job, (picture) => this.open(picture)));
    const cards = mine.map((job) => this.cards.get(job.id).element);
    if (cards.length)
      cards.forEach(
        (card, at) => this.list.children[at] !== card && this.list.insertBefore(card, this.list.children[at] ?? null),
      );
    for (const child of [...this.list.children]) if (!cards.includes(child)) child.remove();
    if (!cards.length) show(this.list, this.welcome());
    show(this.bar, this.barButtons(mine));
  }

  barButtons(mine) {
    const running = jobs.running.length;
    const over = mine.length - mine.filter((job) => jobs.running.includes(job)).length;
    return [
      mine.length > 0 && h("h2", {}, running ? `${running} under way` : "Results"),
      h("span", { class: "push" }),
      running > 1 &&
        h("button", { class: "button small", type: "button", onclick: () => jobs.cancelAll() }, icon("stop"), "Cancel all"),
      over > 0 &&
        h(
          "button",
          { class: "button plain small", type: "button", onclick: () => jobs.dismissFinished().catch(toastError) },
          "Clear finished",
        ),
    ];
  }

  async open(picture) {
    const { openViewer } = await import("./viewer.js");
    openViewer(picture).catch(toastError);
  }

  reveal() {
    if (this.element.getBoundingClientRect().top > window.innerHeight * 0.6)
      this.element.scrollIntoView({ behavior: "smooth", block: "start" });
  }

  welcome() {
    const small = modelNamed("")?.name.startsWith("meshgen-mini") || this.form.values.model === "meshgen-mini";
    const idea = (text) =>
      h(
        "li",
        {},
        h(
          "button",
          {
            class: "button idea",
            type: "button",
            onclick: () => (this.form.set({ prompt: text }), document.querySelector("[data-first]").focus()),
          },
          text,
        ),
      );
    return h(
      "div",
      { class: "empty" },
      art(),
      h("h2", {}, "What would you like to see?"),
      h("p", {}, "Say it in the prompt. Somebody's GPU in the mesh draws it, and it lands here."),
      h("ul", { class: "ideas" }, (small ? SHAPES_IDEAS : IDEAS).map(idea)),
    );
  }
}
