// Which view the address names: #/create, #/gallery/one-id, ... A view is {title, open(main, rest) -> close}.
import { h, show } from "./dom.js";
import { mark } from "./rail.js";

const VIEWS = {
  create: () => import("./create.js"),
  gallery: () => import("./gallery.js"),
  storyboard: () => import("./storyboard.js"),
  mesh: () => import("./mesh.js"),
  worker: () => import("./worker.js"),
  credit: () => import("./credit.js"),
};

let close = null;
let current = "";
let turn = 0;

export function startRouter() {
  window.addEventListener("hashchange", () => route());
  route(false);
}

export function go(address) {
  if (location.hash === address) route();
  else location.hash = address;
}

async function route(focus = true) {
  const [name, ...rest] = location.hash.replace(/^#\/?/, "").split("/").map(decodeURIComponent);
  const view = name in VIEWS ? name : "create";
  const mine = (turn += 1);
  const { default: opened } = await VIEWS[view]();
  if (mine !== turn) return;
  close?.();
  const main = document.getElementById("main");
  const box = h("div", { class: `view view-${view}` });
  show(main, box);
  document.title = `${opened.title} · meshgen`;
  mark(view);
  close = opened.open(box, rest) ?? null;
  if (view !== current) window.scrollTo(0, 0);
  if (focus && view !== current) main.querySelector("h1")?.focus({ preventScroll: true });
  current = view;
}
