// Create: the form at one side, what becomes of it at the other.
import { Refused } from "./api.js";
import { adapterFields, modelField, postField } from "./model-field.js";
import { h, show } from "./dom.js";
import { area, bound, check, clearFaults, field, select, showFault, slider } from "./fields.js";
import { BLANK, Form, requestOf, withPictures } from "./form.js";
import { icon } from "./icons.js";
import { JobStage } from "./job-stage.js";
import { jobs } from "./jobs.js";
import { keep, kept } from "./keeping.js";
import { forgetModels, meshModels, SCHEDULERS } from "./models.js";
import { priceLine } from "./price.js";
import { seedField } from "./seed-field.js";
import { sizeField } from "./size-field.js";
import { sourceField, takeAnywhere } from "./source-field.js";
import { say, toastError } from "./toast.js";

const PRICE = "price";
const MOST = 16;
const LOOK_MS = 15_000;
let form = null;

/** The one form of this page, with what it held last time. */
export async function theForm() {
  if (!form) {
    const made = new Form();
    await made.load();
    form ??= made;
  }
  return form;
}

function open(box) {
  const ends = [];
  theForm().then((made) => ends.push(...build(box, made)), toastError);
  return () => ends.forEach((end) => end());
}

function build(box, form) {
  const stage = new JobStage(form);
  const general = h("p", { class: "error", role: "alert" });
  const price = priceLine(
    form,
    (error) => (
      clearFaults(element, PRICE),
      show(
        general,
        error instanceof Refused &&
          !showFaultQuietly(element, error) && [error.message, error.hint && h("span", { class: "quiet" }, ` ${error.hint}`)],
      )
    ),
  );
  const send = h("button", { class: "button main-action go", type: "submit" }, icon("create"), h("span", {}, "Create"));
  const element = h(
    "form",
    {
      class: "create-form",
      "aria-label": "What to create",
      novalidate: true,
      onsubmit: (event) => (event.preventDefault(), submit(form, element, general, send, stage)),
    },
    h("div", { class: "create-fields" }, fieldsOf(form)),
    h(
      "div",
      { class: "create-foot" },
      general,
      h("div", { class: "row" }, h("div", { class: "grow" }, price), countField(form), send),
    ),
  );
  element.addEventListener("input", (event) => clearFaults(event.target.closest(".field") ?? general));
  element.addEventListener(
    "keydown",
    (event) => (event.ctrlKey || event.metaKey) && event.key === "Enter" && (event.preventDefault(), element.requestSubmit()),
  );
  show(box, h("h1", { class: "unseen", tabindex: "-1" }, "Create"), element, stage.element);
  const stopDrops = takeAnywhere(form, box);
  const look = () =>
    meshModels().then(
      () => form.tell(["mesh"]),
      () => {},
    );
  look();
  const timer = setInterval(() => document.hidden || (forgetModels(), look()), LOOK_MS);
  return [stopDrops, () => clearInterval(timer), () => stage.close()];
}

function fieldsOf(form) {
  return [
    h(
      "div",
      { class: "stack" },
      area(form, "prompt", "Prompt", { rows: 4, first: true, placeholder: "What should be seen?", aside: clearButton(form) }),
      area(form, "negative_prompt", "Without", { rows: 1, placeholder: "What should not be seen" }),
    ),
    modelField(form),
    adapterFields(form),
    sizeField(form),
    sourceField(form),
    more("Quality", "quality", [
      slider(form, "steps", "Steps", { min: 1, max: 1000, soft: 80, hint: "More take longer and cost more." }),
      slider(form, "guidance_scale", "Guidance", {
        min: 0,
        max: 100,
        soft: 20,
        step: 0.1,
        hint: "How closely it follows the words.",
      }),
      select(form, "scheduler", "Scheduler", SCHEDULERS),
      seedField(form),
    ]),
    more("More", "more", [
      postField(form),
      check(form, "hires_fix", "Compose small, then refine", "For sizes well above the model's own."),
      check(form, "tiling", "Edges fit together", "For patterns that repeat."),
      check(form, "nsfw", "May be not safe for work", "Asks only workers that take such jobs."),
      check(form, "shared", "Let others have the pictures too", "Costs less."),
      check(form, "private", "Keep the prompt out of the files"),
      slider(form, "clip_skip", "Clip skip", { min: 1, max: 12 }),
      mostField(form),
      h(
        "button",
        { class: "button plain small", type: "button", onclick: () => form.use({ ...BLANK, prompt: form.values.prompt }) },
        "Everything as at first",
      ),
    ]),
  ];
}

/** The most that one picture may cost. */
function mostField(form) {
  const box = h("input", {
    class: "input num",
    type: "number",
    min: 0,
    step: "any",
    inputmode: "decimal",
    placeholder: "as the settings say",
  });
  box.addEventListener("change", () =>
    form.set({ max_mkudos: box.value === "" ? null : Math.round(1000 * Math.max(0, Number(box.value))) }),
  );
  bound(form, ["max_mkudos"], () => (box.value = form.values.max_mkudos === null ? "" : form.values.max_mkudos / 1000));
  return field("Pay at most, in kudos for a picture", box, { fault: "max_mkudos" });
}

function clearButton(form) {
  const button = h(
    "button",
    { class: "push button plain tiny", type: "button", onclick: () => form.set({ prompt: "" }) },
    "Clear",
  );
  bound(form, ["prompt"], () => (button.hidden = !form.values.prompt));
  return button;
}

function more(title, key, content) {
  const box = h(
    "details",
    { class: "more", open: kept(`open.${key}`, false) },
    h("summary", {}, title),
    h("div", { class: "stack" }, content),
  );
  box.addEventListener("toggle", () => keep(`open.${key}`, box.open));
  return box;
}

function countField(form) {
  const shown = h("output", { class: "num", "aria-live": "off" });
  const change = (by) => form.set({ count: Math.min(MOST, Math.max(1, form.values.count + by)) });
  const button = (name, label, by) =>
    h(
      "button",
      {
        class: "button plain icon small",
        type: "button",
        "aria-label": label,
        onclick: () => (change(by), say(`${form.values.count} pictures`)),
      },
      icon(name),
    );
  form.addEventListener("change", () => (shown.textContent = form.values.count));
  shown.textContent = form.values.count;
  return h(
    "div",
    { class: "counter", role: "group", "aria-label": "How many pictures", title: "How many pictures" },
    button("minus", "Fewer pictures", -1),
    shown,
    button("plus", "More pictures", 1),
  );
}

function showFaultQuietly(element, error) {
  const at = document.activeElement;
  const found = showFault(element, error.field.split(".")[0], error.message, PRICE);
  at?.focus?.({ preventScroll: true });
  return found;
}

async function submit(form, element, general, send, stage) {
  clearFaults(element);
  show(general);
  if (!form.values.prompt.trim()) return showFault(element, "prompt", "Say what should be seen.");
  send.disabled = true;
  try {
    await create(form);
    say("Asked for. Results appear as they land.");
    stage.reveal();
  } catch (error) {
    const text = [error.message, error.hint].filter(Boolean).join(" · ");
    if (!(error instanceof Refused && showFault(element, error.field.split(".")[0], text))) show(general, text);
  } finally {
    send.disabled = false;
  }
}

async function create(form) {
  const { source, mask } = form;
  const settings = { ...form.values };
  const request = requestOf(settings);
  const body = await withPictures(request, { source, mask, strength: settings.strength });
  const about = { settings: { ...settings, seed: request.seed }, inputs: source ? { source, mask } : null };
  return jobs.submit(body, about);
}

export default { title: "Create", open };
