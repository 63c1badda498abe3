// A window with a list to pick from: models, LoRAs, and what else workers offer.
import { openDialog } from "./dialog.js";
import { h, show } from "./dom.js";
import { count } from "./format.js";
import { icon } from "./icons.js";

/** `items` are {name, tags: [text], workers, picked}. Resolves with the item, or null. */
export function pick(title, items, none) {
  return new Promise((resolve) => {
    let found = null;
    const list = h("ul", { class: "picks" });
    const search = h("input", { class: "input", type: "search", placeholder: "Search", "aria-label": "Search", autofocus: true });
    const choose = (item) => ((found = item), box.close());
    const list_ = () => {
      const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
      const fits = items.filter((item) =>
        words.every((word) => `${item.name} ${item.tags.join(" ")}`.toLowerCase().includes(word)),
      );
      show(
        list,
        fits.length
          ? fits.map((item) => h("li", {}, entry(item, choose)))
          : h("li", { class: "wait" }, items.length ? "Nothing is called that." : none),
      );
    };
    search.addEventListener("input", list_);
    search.addEventListener("keydown", (event) => {
      if (event.key === "Enter") list.querySelector("button")?.click();
      if (event.key === "ArrowDown") (event.preventDefault(), list.querySelector("button")?.focus());
    });
    list.addEventListener("keydown", move);
    list_();
    const box = openDialog({
      title,
      body: [items.length > 6 && search, list],
      className: "picker",
      onclose: () => resolve(found),
    });
  });
}

function entry(item, choose) {
  const workers = item.workers === undefined ? "" : count(item.workers, "worker");
  return h(
    "button",
    { type: "button", class: "pick", "aria-current": item.picked ? "true" : null, onclick: () => choose(item) },
    h(
      "span",
      { class: "grow" },
      h("strong", {}, item.label ?? item.name),
      h(
        "span",
        { class: "tags small" },
        item.tags.filter(Boolean).map((tag) => h("span", { class: "faint" }, tag)),
      ),
    ),
    h("span", { class: "small quiet nowrap num" }, workers),
    item.picked && icon("check"),
  );
}

function move(event) {
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (!step) return;
  event.preventDefault();
  const all = [...event.currentTarget.querySelectorAll("button")];
  all[all.indexOf(document.activeElement) + step]?.focus();
}
