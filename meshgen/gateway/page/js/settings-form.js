// Settings as a form that follows from what the node says of each key. What is changed lands in the file that people edit.
import { get, patch } from "./api.js";
import { h, newId, show } from "./dom.js";
import { kept, keep } from "./keeping.js";
import { say } from "./toast.js";

const FIRST = [
  "worker.max_pixels",
  "worker.max_steps",
  "worker.max_count",
  "worker.max_queue",
  "worker.price_permille",
  "worker.declines",
  "worker.only_friends",
  "worker.hours",
  "worker.models",
  "worker.vram_free_mib",
  "worker.max_temperature_c",
  "worker.max_power_w",
];
const TITLES = {
  "worker.max_pixels": "Largest picture",
  "worker.max_steps": "Most steps",
  "worker.max_count": "Most pictures of a job",
  "worker.max_queue": "Most pictures waiting",
  "worker.price_permille": "Price",
  "worker.declines": "Declined",
  "worker.only_friends": "Friends alone",
  "worker.hours": "Hours",
  "worker.models": "Models",
  "worker.vram_free_mib": "Memory left free",
  "worker.max_temperature_c": "Hottest",
  "worker.max_power_w": "Most power",
};
const SECTIONS = {
  worker: "The rest of the worker's",
  requester: "Asking for pictures",
  node: "This node",
  mesh: "The mesh",
  api: "The API",
  limits: "Limits",
};

export async function settingsCard() {
  const found = await get("/v1/settings");
  const rest = Object.keys(SECTIONS).map((section) => [
    section,
    Object.keys(found.settings).filter((key) => key.startsWith(`${section}.`) && !FIRST.includes(key)),
  ]);
  const first = FIRST.filter((key) => key in found.settings);
  return h(
    "section",
    { class: "card", "aria-label": "Settings" },
    h("h2", {}, "Settings"),
    h("p", { class: "small quiet" }, "Changes land in ", h("code", {}, found.file), ", which you can as well edit by hand."),
    group("What it takes, and its limits", "first", first, found, true),
    rest.filter(([, keys]) => keys.length).map(([section, keys]) => group(SECTIONS[section], section, keys, found, false)),
  );
}

function group(title, name, keys, found, open) {
  const box = h(
    "details",
    { class: "more", open: kept(`settings.${name}`, open) },
    h("summary", {}, title),
    h(
      "div",
      {},
      keys.map((key) => setting(key, found)),
    ),
  );
  box.addEventListener("toggle", () => keep(`settings.${name}`, box.open));
  return box;
}

function setting(key, { settings, keys, decided }) {
  const known = keys[key] ?? {};
  const id = newId("setting");
  const hint = newId("hint");
  const state = h("p", { class: "small faint", role: "status" });
  const problem = h("p", { class: "error", role: "alert" });
  const save = (value) => change(key, value, state, problem);
  const control = controlOf(known, settings[key], save);
  control.id ||= id;
  control.setAttribute("aria-describedby", hint);
  if (decided[key]) {
    for (const input of control.matches("input, select, textarea") ? [control] : control.querySelectorAll("input"))
      input.disabled = true;
    state.textContent = `set by the ${decided[key]}, which goes before the file`;
  }
  const label = TITLES[key] ?? plain(key);
  const words = [h("strong", {}, label), h("span", { class: "key" }, key)];
  const name = control.matches("fieldset") ? h("p", {}, words) : h("label", { for: control.id }, words);
  if (control.matches("fieldset")) control.setAttribute("aria-label", label);
  return h(
    "div",
    { class: "setting" },
    h("div", {}, name, h("p", { class: "hint", id: hint }, known.description), state),
    control,
    problem,
  );
}

function plain(key) {
  const words = key.split(".")[1].replaceAll("_", " ");
  return words[0].toUpperCase() + words.slice(1);
}

function controlOf(known, value, save) {
  const kind = known.type ?? known.anyOf?.[0]?.type;
  if (known.enum) return picked(known.enum, value, save);
  if (kind === "boolean") return switched(value, save);
  if (kind === "array" && known.items?.enum) return several(known.items.enum, value, save);
  if (kind === "array") return lines(value, save);
  return typed(kind, known, value, save);
}

function picked(words, value, save) {
  const box = h(
    "select",
    { class: "input" },
    words.map((word) => h("option", { value: word }, word || "as it is")),
  );
  box.value = value;
  box.addEventListener("change", () => save(box.value));
  return box;
}

function switched(value, save) {
  const box = h("input", { type: "checkbox", role: "switch", checked: value });
  box.addEventListener("change", () => save(box.checked));
  return h("label", { class: "check" }, box, h("span", { class: "unseen" }, "on"));
}

function several(words, value, save) {
  const boxes = words.map((word) =>
    h("input", {
      type: "checkbox",
      value: word,
      checked: value.includes(word),
      onchange: () => save(boxes.filter((box) => box.checked).map((box) => box.value)),
    }),
  );
  return h(
    "fieldset",
    {},
    h(
      "div",
      { class: "choices" },
      boxes.map((box) => h("label", { class: "choice small" }, box, h("span", {}, box.value))),
    ),
  );
}

function lines(value, save) {
  const box = h("textarea", { class: "input", rows: 1, placeholder: "one a line" });
  box.value = value.join("\n");
  box.addEventListener("change", () =>
    save(
      box.value
        .split("\n")
        .map((one) => one.trim())
        .filter(Boolean),
    ),
  );
  return box;
}

function typed(kind, known, value, save) {
  const isNumber = kind === "integer" || kind === "number";
  const box = h("input", {
    class: "input num",
    type: isNumber ? "number" : "text",
    min: known.minimum ?? known.exclusiveMinimum,
    max: known.maximum,
    step: kind === "integer" ? 1 : "any",
    maxlength: known.maxLength,
  });
  box.value = value;
  box.addEventListener("change", () => save(isNumber ? Number(box.value) : box.value));
  return box;
}

async function change(key, value, state, problem) {
  show(problem);
  try {
    const { live, restart } = await patch("/v1/settings", { changes: { [key]: value } });
    state.className = `small ${live.includes(key) ? "good" : "warm"}`;
    state.textContent = live.includes(key)
      ? "in force now"
      : restart.includes(key)
        ? "in force after the node's next start"
        : "kept";
    say(`${TITLES[key] ?? plain(key)}: ${state.textContent}`);
  } catch (error) {
    problem.textContent = error.message;
  }
}
