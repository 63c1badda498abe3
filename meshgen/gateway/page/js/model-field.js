// The model, and what changes its style: LoRAs and textual inversions.
import { field, faultOf, bound } from "./fields.js";
import { h, show } from "./dom.js";
import { count } from "./format.js";
import { icon } from "./icons.js";
import { adaptersFor, areKnown, drawing, FAMILIES, meshModels, modelNamed } from "./models.js";
import { pick } from "./picking.js";
import { toastError } from "./toast.js";

const ADAPTERS = [
  ["loras", "lora", "LoRA"],
  ["inversions", "inversion", "textual inversion"],
];

export function modelField(form) {
  const button = h("button", {
    type: "button",
    class: "input picked",
    "aria-haspopup": "dialog",
    onclick: () => pickModel(form).catch(toastError),
  });
  const paint = () => show(button, ...faceOf(form.values.model));
  bound(form, ["model", "mesh"], paint);
  return field("Model", button, { fault: "model" });
}

function faceOf(name) {
  const model = modelNamed(name);
  const title = name || "Any model";
  if (!model)
    return [
      h("span", { class: "grow cut" }, h("strong", {}, title)),
      h("span", { class: "small warm nowrap" }, areKnown() ? "no worker" : ""),
    ];
  const words = name ? `${FAMILIES[model.family] ?? model.family} · ${model.default_side} px` : `now ${model.name}`;
  return [
    h("span", { class: "grow cut" }, h("strong", {}, title), h("span", { class: "small faint" }, ` ${words}`)),
    h("span", { class: "small quiet nowrap num" }, count(model.workers, "worker")),
  ];
}

async function pickModel(form) {
  const { models } = await meshModels();
  form.tell(["mesh"]);
  const rows = drawing(models).map((model) => ({
    name: model.name,
    tags: [
      FAMILIES[model.family] ?? model.family,
      `${model.default_side} px`,
      model.queued ? `${model.queued} waiting` : "free now",
    ],
    workers: model.workers,
    picked: model.name === form.values.model,
  }));
  const any = { name: "", label: "Any model", tags: ["the one that most workers offer"], picked: !form.values.model };
  const found = await pick(
    "Model",
    rows.length ? [any, ...rows] : [],
    "No worker that draws is known yet. Somebody has to join, or this node can be one.",
  );
  if (found) form.set({ model: found.name, width: 0, height: 0 });
}

/** Rows with a weight each, and buttons that add one. */
export function adapterFields(form) {
  const box = h("div", { class: "stack tight" });
  bound(form, ["loras", "inversions", "model", "mesh"], () => show(box, adapterRows(form)));
  return box;
}

function adapterRows(form) {
  const family = modelNamed(form.values.model)?.family ?? "";
  const rows = ADAPTERS.flatMap(([key, , word]) => form.values[key].map((one, index) => adapterRow(form, key, word, one, index)));
  const buttons = ADAPTERS.filter(([, kind]) => adaptersFor(kind, family).length).map(([key, kind, word]) =>
    adder(form, key, kind, word, family),
  );
  if (!rows.length && !buttons.length) return [];
  return [rows, h("div", { class: "row wrap" }, buttons), faultOf("loras"), faultOf("inversions")];
}

function adapterRow(form, key, word, one, index) {
  const change = (next) =>
    form.set({ [key]: form.values[key].map((other, at) => (at === index ? next : other)).filter(Boolean) });
  const weight = h("input", {
    class: "input num",
    type: "number",
    min: -5,
    max: 5,
    step: 0.05,
    value: one.weight ?? 1,
    "aria-label": `Weight of ${one.name}`,
  });
  weight.addEventListener("change", () => change({ ...one, weight: Math.min(5, Math.max(-5, Number(weight.value) || 0)) }));
  return h(
    "div",
    { class: "adapter" },
    h("span", { class: "grow cut" }, h("strong", {}, one.name), h("span", { class: "small faint" }, ` ${word}`)),
    weight,
    h(
      "button",
      { class: "button plain icon small", type: "button", "aria-label": `Take ${one.name} away`, onclick: () => change(null) },
      icon("close"),
    ),
  );
}

function adder(form, key, kind, word, family) {
  const add = async () => {
    await meshModels();
    const taken = new Set(form.values[key].map((one) => one.name));
    const rows = adaptersFor(kind, family).filter((one) => !taken.has(one.name));
    const items = rows.map((one) => ({
      name: one.name,
      tags: [one.family ? (FAMILIES[one.family] ?? one.family) : "fits any model"],
      workers: one.workers,
    }));
    const found = await pick(`Add a ${word}`, items, `No worker offers another ${word} for this model.`);
    if (found)
      form.set({
        [key]: [
          ...form.values[key],
          key === "loras" ? { name: found.name, weight: 1 } : { name: found.name, place: "prompt", weight: 1 },
        ],
      });
  };
  return h("button", { class: "button small", type: "button", onclick: () => add().catch(toastError) }, icon("plus"), word);
}

/** Post-processors as switches. */
export function postField(form) {
  const box = h("div", { class: "choices" });
  bound(form, ["post", "mesh"], () => {
    const names = [...new Set([...adaptersFor("post", "").map((one) => one.name), ...form.values.post])];
    show(
      box,
      names.length ? names.map((name) => postSwitch(form, name)) : h("p", { class: "hint" }, "No worker offers any now."),
    );
  });
  return h("fieldset", { class: "field" }, h("legend", {}, "Afterwards"), box, faultOf("post"));
}

function postSwitch(form, name) {
  const box = h("input", { type: "checkbox", checked: form.values.post.includes(name) });
  box.addEventListener("change", () =>
    form.set({ post: box.checked ? [...form.values.post, name] : form.values.post.filter((other) => other !== name) }),
  );
  return h("label", { class: "choice" }, box, h("span", {}, name.replaceAll("_", " ")));
}
