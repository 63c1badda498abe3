// Gallery: everything that was made in this browser.
import { confirmed } from "./dialog.js";
import { h, show, settled } from "./dom.js";
import { count, line } from "./format.js";
import { fits, history } from "./history.js";
import { art, icon } from "./icons.js";
import { fill } from "./pictures.js";
import { toast, toastError } from "./toast.js";

const ROW = 230;
const AT_ONCE = 120;

class Gallery {
  constructor(box) {
    this.chosen = new Set();
    this.selecting = false;
    this.shown = AT_ONCE;
    this.search = h("input", {
      class: "input search",
      type: "search",
      placeholder: "Search words, models, seeds, workers",
      "aria-label": "Search the gallery",
      data: { first: "" },
    });
    this.search.addEventListener(
      "input",
      settled(() => this.layOut(), 120),
    );
    this.bar = h("div", { class: "row wrap push" });
    this.grid = h("ul", { class: "wall", "aria-label": "Pictures" });
    this.more = h("div");
    this.number = h("p", { role: "status" });
    this.seen = new IntersectionObserver((entries) => this.reveal(entries), { rootMargin: "600px" });
    show(
      box,
      h("header", { class: "head" }, h("div", {}, h("h1", { tabindex: "-1" }, "Gallery"), this.number), this.bar),
      this.search,
      this.grid,
      this.more,
    );
    this.onchange = () => this.layOut();
    history.addEventListener("change", this.onchange);
    this.layOut();
  }

  close() {
    history.removeEventListener("change", this.onchange);
    this.seen.disconnect();
  }

  async layOut() {
    const all = await history.all();
    this.found = all.filter((record) => fits(record, this.search.value));
    this.search.hidden = all.length === 0;
    const words = count(this.found.length, "picture");
    this.number.textContent =
      all.length === 0 ? "" : this.search.value ? `${words} of ${all.length}` : `${words}, kept in this browser`;
    this.seen.disconnect();
    show(
      this.grid,
      this.found.slice(0, this.shown).map((record) => this.item(record)),
    );
    const rest = this.found.length - this.shown;
    show(
      this.more,
      rest > 0 &&
        h(
          "button",
          { class: "button", type: "button", onclick: () => ((this.shown += AT_ONCE), this.layOut()) },
          `Show ${Math.min(rest, AT_ONCE)} more`,
        ),
      !this.found.length && this.nothing(all.length),
    );
    this.showBar(all.length);
  }

  nothing(any) {
    if (any) return h("div", { class: "empty" }, h("h2", {}, "Nothing fits"), h("p", {}, "Try fewer words."));
    return h(
      "div",
      { class: "empty" },
      art(),
      h("h2", {}, "No pictures yet"),
      h("p", {}, "What you create stays here, in this browser alone, through reloads and restarts."),
      h("a", { class: "button main-action", href: "#/create" }, icon("create"), "Create one"),
    );
  }

  item(record) {
    const ratio = record.width && record.height ? record.width / record.height : 1;
    const words = line(record.settings?.prompt ?? "", 140);
    const picture = h("img", { alt: words || "a picture", data: { picture: record.id }, loading: "lazy" });
    this.seen.observe(picture);
    const on = this.chosen.has(record.id);
    const press = () => (this.selecting ? this.choose(record.id) : openPicture(record.id, this.found));
    const button = h(
      "button",
      { type: "button", class: "wall-open", "aria-pressed": this.selecting ? String(on) : null, onclick: press },
      picture,
      h("span", { class: "wall-words small", "aria-hidden": "true" }, words),
      this.selecting && h("span", { class: "mark" }, on && icon("check")),
    );
    return h("li", { style: { "--grow": ratio, "--basis": `${Math.round(ratio * ROW)}px`, "--shape": ratio } }, button);
  }

  reveal(entries) {
    for (const { isIntersecting, target } of entries) {
      if (!isIntersecting) continue;
      this.seen.unobserve(target);
      fill(target, target.dataset.picture).catch(toastError);
    }
  }

  choose(id) {
    if (!this.chosen.delete(id)) this.chosen.add(id);
    const buttons = [...this.grid.querySelectorAll(".wall-open")];
    const at = this.found.findIndex((record) => record.id === id);
    const item = this.item(this.found[at]);
    buttons[at].parentElement.replaceWith(item);
    item.querySelector("button").focus();
    this.showBar(this.found.length);
  }

  showBar(any) {
    const { size } = this.chosen;
    const select = h(
      "button",
      { class: "button small", type: "button", "aria-pressed": String(this.selecting), onclick: () => this.toggle() },
      icon("check"),
      this.selecting ? "Done" : "Select",
    );
    const compare = h(
      "button",
      {
        class: "button small",
        type: "button",
        disabled: size !== 2,
        title: size === 2 ? "" : "Choose two",
        onclick: () => this.compare(),
      },
      icon("compare"),
      "Compare",
    );
    const bin = h(
      "button",
      { class: "button small danger", type: "button", disabled: size === 0, onclick: () => this.remove().catch(toastError) },
      icon("bin"),
      size ? `Delete ${size}` : "Delete",
    );
    show(this.bar, any > 0 && [this.selecting && [compare, bin], select]);
  }

  toggle() {
    this.selecting = !this.selecting;
    this.chosen.clear();
    this.layOut();
  }

  async compare() {
    const { compareTwo } = await import("./compare.js");
    const two = [...this.chosen];
    compareTwo(...(await Promise.all(two.map((id) => history.find(id)))));
  }

  async remove() {
    const ids = [...this.chosen];
    if (
      ids.length > 1 &&
      !(await confirmed("Delete these pictures?", `${count(ids.length, "picture")} will be gone from this browser.`, "Delete"))
    )
      return;
    const back = await history.remove(ids);
    this.chosen.clear();
    this.showBar(1);
    toast(`${count(ids.length, "picture")} deleted.`, { action: { label: "Undo", run: () => back().catch(toastError) } });
  }
}

async function openPicture(id, list) {
  const { openViewer } = await import("./viewer.js");
  openViewer(id, list).catch(toastError);
}

function open(box, [id]) {
  const gallery = new Gallery(box);
  if (id) openPicture(id);
  return () => gallery.close();
}

export default { title: "Gallery", open };
