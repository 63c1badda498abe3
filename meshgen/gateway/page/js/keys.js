// Keys that work everywhere, and what they are.
import { openDialog } from "./dialog.js";
import { h } from "./dom.js";
import { go } from "./router.js";

const PLACES = { 1: "create", 2: "gallery", 3: "storyboard", 4: "mesh", 5: "worker", 6: "credit" };
const LIST = [
  ["1 … 6", "Go to a section"],
  ["Ctrl + Enter", "Create what the form says"],
  ["/", "To the prompt, or to the search of the gallery"],
  ["← →", "The picture before, the one behind"],
  ["U", "Use the shown picture's settings"],
  ["V", "Variations of it"],
  ["C", "Compare it with another"],
  ["Delete", "Remove it from this browser"],
  ["Ctrl + Z, Ctrl + Y", "Undo and redo in the mask painter"],
  ["[ ]", "A smaller or larger brush"],
  ["X", "Brush or eraser"],
  ["Escape", "Close what is open"],
  ["?", "This list"],
];

export function startKeys() {
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || isTyping(event.target) || document.querySelector("dialog[open]"))
      return;
    if (event.key in PLACES) go(`#/${PLACES[event.key]}`);
    else if (event.key === "?") showKeys();
    else if (event.key === "/") {
      event.preventDefault();
      document.querySelector("[data-first]")?.focus();
    }
  });
}

export function isTyping(target) {
  return target.matches("input:not([type=checkbox], [type=radio], [type=range]), textarea, select, [contenteditable]");
}

export function showKeys() {
  const rows = LIST.map(([keys, what]) => [
    h(
      "dt",
      {},
      keys.split(", ").map((one, at) => [at ? " " : "", h("kbd", {}, one)]),
    ),
    h("dd", {}, what),
  ]);
  openDialog({ title: "Keyboard shortcuts", body: h("dl", { class: "pairs" }, rows) });
}
