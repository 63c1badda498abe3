// One picture, large, with all that is known of it and what can be done with it.
import { closer } from "./dialog.js";
import { h, show } from "./dom.js";
import { duration, kudos, nameOf, when } from "./format.js";
import { fileName, fileOf, history } from "./history.js";
import { icon } from "./icons.js";
import { jobs } from "./jobs.js";
import { isTyping } from "./keys.js";
import { download, fill } from "./pictures.js";
import { bare } from "./png.js";
import { go } from "./router.js";
import { say, toast, toastError } from "./toast.js";
import { requestOf, withPictures } from "./form.js";

const VARIATIONS = 4;

/** `list` is what the arrow keys walk through: records, all pictures if it is not given. */
export async function openViewer(id, list) {
  const records = list ?? (await history.all());
  const at = records.findIndex((record) => record.id === id);
  if (at < 0) return toast("That picture is not in this browser any more.");
  return new Viewer([...records], at);
}

class Viewer {
  constructor(records, at) {
    Object.assign(this, { records, at });
    this.picture = h("img", { alt: "" });
    this.side = h("div", { class: "viewer-side" });
    this.before = h(
      "button",
      { class: "turn back", type: "button", "aria-label": "The picture before", onclick: () => this.turn(-1) },
      icon("left"),
    );
    this.behind = h(
      "button",
      { class: "turn on", type: "button", "aria-label": "The picture behind", onclick: () => this.turn(1) },
      icon("right"),
    );
    this.stage = h("div", { class: "viewer-stage" }, this.before, h("div", { class: "frame" }, this.picture), this.behind);
    this.box = h("dialog", { class: "viewer", "aria-label": "Picture", tabindex: "-1" }, this.stage, this.side);
    this.box.addEventListener("close", () => this.box.remove());
    this.box.addEventListener("keydown", (event) => this.key(event));
    this.swipe();
    document.body.append(this.box);
    this.box.showModal();
    this.show();
    this.box.focus();
  }

  get record() {
    return this.records[this.at];
  }

  show() {
    const { record } = this;
    const prompt = record.settings?.prompt ?? "";
    this.picture.alt = prompt;
    this.picture.classList.toggle("tiny", Math.max(record.width, record.height) <= 256);
    fill(this.picture, record.id, "full").catch(toastError);
    this.before.disabled = this.at === 0;
    this.behind.disabled = this.at === this.records.length - 1;
    show(this.side, this.sideOf(record, prompt));
    if (!this.box.contains(document.activeElement) || document.activeElement.disabled) this.box.focus(); // a button that went took the focus with it
  }

  turn(step) {
    const next = this.at + step;
    if (next < 0 || next >= this.records.length) return;
    this.at = next;
    this.show();
    say(`Picture ${next + 1} of ${this.records.length}: ${this.record.settings?.prompt ?? ""}`);
  }

  sideOf(record, prompt) {
    const negative = record.settings?.negative_prompt;
    return [
      h(
        "div",
        { class: "row" },
        h("h2", { class: "grow" }, when(record.made_ms)),
        closer(() => this.box.close()),
      ),
      h("p", { class: "viewer-prompt" }, prompt),
      negative && h("p", { class: "small quiet" }, h("span", { class: "faint" }, "Without: "), negative),
      this.actions(record),
      h(
        "dl",
        { class: "pairs small" },
        facts(record).map(([name, value]) => [h("dt", {}, name), h("dd", { class: "num" }, value)]),
      ),
      h(
        "div",
        { class: "row wrap" },
        this.button("save", "Download", () => save(record, false)),
        this.button("save", "Without the prompt", () => save(record, true)),
        this.button("bin", "Delete", () => this.remove(), "danger"),
      ),
    ];
  }

  actions(record) {
    const about = record.mkudos ? ` · about ${kudos(record.mkudos * VARIATIONS)} kudos` : "";
    return h(
      "div",
      { class: "viewer-actions" },
      h(
        "button",
        { class: "button main-action", type: "button", title: "U", onclick: () => this.use().catch(toastError) },
        icon("reuse"),
        "Use these settings",
      ),
      h(
        "button",
        {
          class: "button",
          type: "button",
          title: `${VARIATIONS} with the same settings and new seeds${about} (V)`,
          onclick: () => this.vary().catch(toastError),
        },
        icon("variations"),
        "Variations",
      ),
      h(
        "button",
        { class: "button", type: "button", title: "C", onclick: () => this.compare().catch(toastError) },
        icon("compare"),
        "Compare",
      ),
      h(
        "button",
        { class: "button", type: "button", onclick: () => this.startFrom().catch(toastError) },
        icon("image"),
        "Start from it",
      ),
      h(
        "button",
        { class: "button", type: "button", disabled: !record.receipt, onclick: () => tip(record) },
        icon("heart"),
        "Tip",
      ),
    );
  }

  button(name, label, run, more = "") {
    return h(
      "button",
      { class: `button small ${more}`, type: "button", onclick: () => run().catch(toastError) },
      icon(name),
      label,
    );
  }

  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || isTyping(event.target)) return;
    const does = {
      ArrowLeft: () => this.turn(-1),
      ArrowRight: () => this.turn(1),
      u: () => this.use(),
      v: () => this.vary(),
      c: () => this.compare(),
      Delete: () => this.remove(),
    };
    const run = does[event.key.length === 1 ? event.key.toLowerCase() : event.key];
    if (!run) return;
    event.preventDefault();
    Promise.resolve(run()).catch(toastError);
  }

  swipe() {
    let from = null;
    this.stage.addEventListener("pointerdown", (event) => (from = event.pointerType === "touch" ? event.clientX : null));
    this.stage.addEventListener("pointerup", (event) => {
      const far = from === null ? 0 : event.clientX - from;
      if (Math.abs(far) > 60) this.turn(far < 0 ? 1 : -1);
      from = null;
    });
  }

  async use() {
    const { theForm } = await import("./create.js");
    const form = await theForm();
    await form.use(
      { ...this.record.settings, seed: this.record.seed, seed_locked: true, count: 1 },
      await history.inputs(this.record),
    );
    this.leave("#/create");
    toast("The form holds that picture's settings, and its seed.");
  }

  async vary() {
    const { record } = this;
    const inputs = await history.inputs(record);
    const settings = { ...record.settings, seed: null, seed_locked: false, count: VARIATIONS };
    const request = requestOf(settings);
    const body = await withPictures(request, { ...inputs, strength: settings.strength });
    await jobs.submit(body, { settings: { ...settings, seed: request.seed }, inputs });
    this.leave("#/create");
    toast(`${VARIATIONS} variations are asked for.`);
  }

  async startFrom() {
    const [{ theForm }, { takeFile }] = await Promise.all([import("./create.js"), import("./source-field.js")]);
    const form = await theForm();
    await takeFile(form, await bare(await fileOf(this.record.id)));
    if (!form.values.prompt) form.set({ prompt: this.record.settings?.prompt ?? "" });
    this.leave("#/create");
    toast("The next pictures start from this one.");
  }

  async compare() {
    const { compareWith } = await import("./compare.js");
    await compareWith(this.record);
  }

  async remove() {
    const { record } = this;
    const back = await history.remove([record.id]);
    this.records.splice(this.at, 1);
    toast("Deleted.", { action: { label: "Undo", run: () => back().catch(toastError) } });
    if (!this.records.length) return this.box.close();
    this.at = Math.min(this.at, this.records.length - 1);
    this.show();
  }

  leave(address) {
    this.box.close();
    go(address);
  }
}

function facts(record) {
  const { settings = {} } = record;
  const added = [...(settings.loras ?? []), ...(settings.inversions ?? [])].map((one) => `${one.name} (${one.weight})`);
  return [
    ["Model", record.model],
    ["Size", `${record.width} × ${record.height}`],
    ["Seed", record.seed],
    ["Steps", settings.steps],
    ["Guidance", settings.guidance_scale],
    ["Scheduler", settings.scheduler || "the model's own"],
    ["With", added.join(", ")],
    ["Afterwards", (settings.post ?? []).join(", ")],
    ["From a picture", record.inputs ? `strength ${settings.strength}` : ""],
    ["Worker", nameOf(record.worker_alias, record.worker)],
    ["Took", record.seconds ? duration(record.seconds) : ""],
    ["Paid", record.mkudos ? `${kudos(record.mkudos)} kudos` : "nothing"],
    [
      "Receipt",
      record.receipt &&
        h(
          "a",
          {
            class: "mono",
            href: `#/credit/receipt/${record.receipt}/${record.made_ms}`,
            onclick: (event) => event.target.closest("dialog").close(),
          },
          `${record.receipt.slice(0, 16)}…`,
        ),
    ],
  ].filter(([, value]) => value !== "" && value !== undefined && value !== null);
}

async function save(record, without) {
  const file = await fileOf(record.id);
  download(without ? await bare(file) : file, fileName(record));
}

async function tip(record) {
  const { openTip } = await import("./tip.js");
  openTip(record);
}
