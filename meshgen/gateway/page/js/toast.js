// Short words at the edge, and words for screen readers alone.
import { h } from "./dom.js";

const STAY_MS = 6000;

/** `action` is {label, run}. Errors stay longer. */
export function toast(text, { bad = false, action = null } = {}) {
  const box = h("div", { class: bad ? "toast bad" : "toast" }, h("span", { class: "grow" }, text));
  if (action) box.append(h("button", { type: "button", onclick: () => (box.remove(), action.run()) }, action.label));
  document.getElementById("toasts").append(box);
  setTimeout(() => box.remove(), bad ? 2 * STAY_MS : STAY_MS);
}

export function toastError(error) {
  if (error.name !== "AbortError") toast([error.message, error.hint].filter(Boolean).join(" · "), { bad: true });
}

/** For those who do not see the screen. */
export function say(text) {
  document.getElementById("said").textContent = text;
}
