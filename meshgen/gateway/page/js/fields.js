// Labelled controls over a Form. Each shows what the form holds, and changes it.
import { h, newId } from "./dom.js";

/** A place for what is wrong with a field; the API names fields as the form does. */
export function faultOf(name) {
  return h("p", { class: "error", data: { fault: name } });
}

/** `by`: who says so, and may take it back. */
export function showFault(root, name, text, by = "") {
  const place = name && root.querySelector(`[data-fault="${CSS.escape(name)}"]`);
  if (!place) return false;
  place.textContent = text;
  place.dataset.by = by;
  place.closest("details")?.setAttribute("open", "");
  const near = place.closest(".field");
  const input = near?.querySelector("input, textarea, select") ?? near?.querySelector("button");
  input?.setAttribute("aria-invalid", "true");
  input?.focus();
  return true;
}

/** All of them, or what one has said. */
export function clearFaults(root, by = null) {
  for (const place of root.querySelectorAll("[data-fault]")) {
    if (by !== null && place.dataset.by !== by) continue;
    place.textContent = "";
    const near = place.closest(".field")?.querySelectorAll("[aria-invalid]") ?? [];
    for (const input of near) input.removeAttribute("aria-invalid");
  }
}

export function field(label, control, { hint = "", fault = "", aside = null } = {}) {
  control.id ||= newId("field");
  const words = hint && h("p", { class: "hint", id: newId("hint") }, hint);
  if (words) control.setAttribute("aria-describedby", words.id);
  return h(
    "div",
    { class: "field" },
    h("div", { class: "top" }, h("label", { for: control.id }, label), aside),
    control,
    words,
    fault && faultOf(fault),
  );
}

/** Runs f now, and whenever one of the keys changes elsewhere than in `own`. */
export function bound(form, keys, f) {
  form.addEventListener("change", ({ detail }) => (detail.has("everything") || keys.some((key) => detail.has(key))) && f());
  f();
}

export function slider(form, key, label, { min, max, step = 1, soft = max, hint = "" }) {
  const range = h("input", { type: "range", min, max: soft, step, "aria-label": label });
  const exact = h("input", { class: "input num", type: "number", min, max, step, inputmode: "decimal" });
  const paint = () => range.style.setProperty("--filled", `${(100 * (Math.min(range.value, soft) - min)) / (soft - min)}%`);
  range.addEventListener("input", () => form.set({ [key]: Number(range.value) }));
  exact.addEventListener("change", () => form.set({ [key]: clamp(Number(exact.value), min, max) }));
  bound(form, [key], () => {
    range.value = form.values[key];
    exact.value = form.values[key];
    paint();
  });
  exact.id = newId("field");
  return h(
    "div",
    { class: "field" },
    h("label", { for: exact.id }, label),
    h("div", { class: "slider" }, range, exact),
    hint && h("p", { class: "hint" }, hint),
    faultOf(key),
  );
}

export function clamp(value, min, max) {
  return Number.isFinite(value) ? Math.min(max, Math.max(min, value)) : min;
}

export function area(form, key, label, { rows = 3, placeholder = "", first = false, hint = "", aside = null } = {}) {
  const box = h("textarea", {
    class: "input",
    rows,
    placeholder,
    maxlength: 8000,
    spellcheck: "true",
    data: first ? { first: "" } : {},
  });
  box.addEventListener("input", () => form.set({ [key]: box.value }));
  bound(form, [key], () => box.value !== form.values[key] && (box.value = form.values[key]));
  return field(label, box, { fault: key, hint, aside });
}

export function select(form, key, label, options, more = {}) {
  const box = h(
    "select",
    { class: "input" },
    options.map(([value, word]) => h("option", { value }, word)),
  );
  box.addEventListener("change", () => form.set({ [key]: box.value }));
  bound(form, [key], () => {
    const value = form.values[key];
    if (![...box.options].some((option) => option.value === value)) box.append(h("option", { value }, value));
    box.value = value;
  });
  return field(label, box, { fault: key, ...more });
}

export function check(form, key, label, hint = "") {
  const box = h("input", { type: "checkbox", role: "switch" });
  box.addEventListener("change", () => form.set({ [key]: box.checked }));
  bound(form, [key], () => (box.checked = Boolean(form.values[key])));
  return h(
    "div",
    { class: "field" },
    h("label", { class: "check" }, box, h("span", {}, label, hint && h("span", { class: "hint" }, h("br"), hint))),
    faultOf(key),
  );
}

/** Radio buttons that look like chips. `options` are [value, label, picture?]. */
export function choices(legend, options, value, onpick, { hidden = false } = {}) {
  const name = newId("choice");
  const one = ([word, label, picture]) =>
    h(
      "label",
      { class: "choice" },
      h("input", { type: "radio", name, value: word, checked: word === value, onchange: () => onpick(word) }),
      h("span", {}, picture, label),
    );
  return h(
    "fieldset",
    { class: "field" },
    h("legend", { class: hidden ? "unseen" : "" }, legend),
    h("div", { class: "choices" }, options.map(one)),
  );
}
