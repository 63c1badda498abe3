// Light, dark, or as the system has it.
import { kept, keep } from "./keeping.js";

const ORDER = ["", "light", "dark"];
const KEY = "theme";

export const THEMES = { "": ["auto", "as the system"], light: ["sun", "light"], dark: ["moon", "dark"] };

export function theme() {
  const found = kept(KEY, "");
  return ORDER.includes(found) ? found : "";
}

export function nextTheme() {
  return setTheme(ORDER[(ORDER.indexOf(theme()) + 1) % ORDER.length]);
}

export function setTheme(next) {
  keep(KEY, next);
  if (next) document.documentElement.dataset.theme = next;
  else delete document.documentElement.dataset.theme;
  return next;
}
