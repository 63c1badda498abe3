// The seed: drawn anew each time, or locked.
import { bound, clamp, faultOf } from "./fields.js";
import { h, newId, show } from "./dom.js";
import { icon } from "./icons.js";

const MAX = 2 ** 32 - 1;

export function seedField(form) {
  const id = newId("seed");
  const box = h("input", {
    class: "input num",
    id,
    type: "number",
    min: 0,
    max: MAX,
    inputmode: "numeric",
    placeholder: "another each time",
  });
  const lock = h("button", {
    class: "button icon",
    type: "button",
    onclick: () =>
      form.set(form.values.seed_locked ? { seed_locked: false } : { seed_locked: true, seed: form.values.seed ?? drawn() }),
  });
  const dice = h(
    "button",
    {
      class: "button icon",
      type: "button",
      title: "Draw one and lock it",
      "aria-label": "Draw a seed and lock it",
      onclick: () => form.set({ seed: drawn(), seed_locked: true }),
    },
    icon("dice"),
  );
  box.addEventListener("change", () =>
    form.set(
      box.value === ""
        ? { seed: null, seed_locked: false }
        : { seed: Math.round(clamp(Number(box.value), 0, MAX)), seed_locked: true },
    ),
  );
  bound(form, ["seed", "seed_locked"], () => {
    const locked = form.values.seed_locked;
    box.value = locked ? (form.values.seed ?? "") : "";
    show(lock, icon(locked ? "locked" : "open"));
    lock.setAttribute("aria-pressed", String(locked));
    lock.title = locked ? "The same seed each time" : "Another seed each time";
    lock.setAttribute("aria-label", "Keep the seed");
  });
  return h(
    "div",
    { class: "field" },
    h("label", { for: id }, "Seed"),
    h("div", { class: "row seed" }, box, dice, lock),
    faultOf("seed"),
  );
}

function drawn() {
  return crypto.getRandomValues(new Uint32Array(1))[0];
}
