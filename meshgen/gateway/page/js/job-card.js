// A job as a card: a tile for each picture, from its first noise to the picture itself.
import { h, show } from "./dom.js";
import { duration, kudos, line, nameOf } from "./format.js";
import { icon } from "./icons.js";
import { isOver, jobs } from "./jobs.js";
import { fill } from "./pictures.js";
import { toastError } from "./toast.js";

const STATES = {
  offering: "looking for a worker",
  running: "drawing",
  done: "done",
  failed: "failed",
  cancelled: "cancelled",
  lost: "lost",
};

/** The card, and update() for when its job has changed. */
export class JobCard {
  constructor(job, onopen) {
    this.job = job;
    this.onopen = onopen;
    this.tiles = [];
    this.state = h("span", { class: "tag" });
    this.facts = h("p", { class: "small faint num" });
    this.words = h("p", { class: "error" });
    this.action = h("span");
    this.grid = h("ul", { class: "tiles" });
    const prompt = line(job.settings?.prompt ?? "", 180);
    this.element = h(
      "article",
      { class: "card job", "aria-label": `Job: ${prompt}` },
      h(
        "header",
        { class: "row" },
        h("div", { class: "grow" }, h("h3", { class: "cut", title: prompt }, prompt), this.facts),
        this.state,
        this.action,
      ),
      this.words,
      this.grid,
    );
    this.update();
  }

  update() {
    const { job } = this;
    const over = isOver(job);
    this.element.classList.toggle("over", over);
    this.state.textContent = STATES[job.state];
    this.state.className = `tag ${{ running: "accent", offering: "warm", failed: "bad", lost: "bad" }[job.state] ?? ""}`;
    this.words.textContent = job.state === "failed" || job.state === "lost" ? job.error : "";
    this.facts.textContent = this.factsOf(job);
    if (this.shownOver !== over) show(this.action, this.button(over));
    this.shownOver = over;
    this.updateTiles();
  }

  factsOf(job) {
    const took = job.finished_ms ? duration((job.finished_ms - job.created_ms) / 1000) : "";
    const cost = job.mkudos ? `${kudos(job.mkudos)} kudos` : "";
    const size = job.width ? `${job.width} × ${job.height}` : "";
    return [job.model, size, cost, took, job.notes?.at(-1)].filter(Boolean).join(" · ");
  }

  button(over) {
    if (over)
      return h(
        "button",
        {
          class: "button plain icon small",
          type: "button",
          title: "Off this list; the pictures stay in the gallery",
          "aria-label": "Take this job off the list",
          onclick: () => jobs.dismiss(this.job).catch(toastError),
        },
        icon("close"),
      );
    return h(
      "button",
      { class: "button small", type: "button", onclick: () => jobs.cancel(this.job).catch(toastError) },
      icon("stop"),
      "Cancel",
    );
  }

  updateTiles() {
    const { job } = this;
    const ratio = job.width && job.height ? job.width / job.height : 1;
    this.grid.style.setProperty("--ratio", ratio);
    this.grid.style.setProperty("--across", acrossFor(job.tiles.length));
    job.tiles.forEach((tile, index) => {
      this.tiles[index] ??= this.addTile();
      this.tiles[index].update(tile, job);
    });
    this.grid.hidden = isOver(job) && !job.tiles.some((tile) => tile.state === "there");
  }

  addTile() {
    const tile = new Tile((picture) => this.onopen(picture));
    this.grid.append(tile.element);
    return tile;
  }
}

function acrossFor(count) {
  return count <= 4 ? Math.max(count, 1) : Math.min(6, Math.ceil(Math.sqrt(count * 1.6)));
}

export class Tile {
  constructor(open) {
    this.open = open;
    this.picture = h("img", { alt: "", hidden: true });
    this.meter = h("progress", { class: "meter", max: 1, value: 0 });
    this.words = h("span", { class: "small cut" });
    this.foot = h("div", { class: "tile-foot" }, this.words, this.meter);
    this.element = h("li", { class: "tile" }, this.picture, this.foot);
  }

  update(tile, job) {
    const there = tile.state === "there";
    const over = isOver(job);
    this.element.classList.toggle("there", there);
    this.element.classList.toggle("gone", over && !there);
    this.element.classList.toggle("pending", !over && !there && !tile.preview);
    this.foot.hidden = there || over;
    if (there) return this.showPicture(tile, job);
    this.picture.hidden = !tile.preview;
    if (tile.preview) this.picture.src = tile.preview;
    const share = tile.steps ? tile.step / tile.steps : 0;
    this.meter.value = share;
    this.meter.setAttribute("aria-label", `Picture ${tile.index + 1}`);
    this.words.textContent = this.wordsOf(tile, share);
  }

  wordsOf(tile, share) {
    const who = tile.alias ? nameOf(tile.alias).split("#")[0] : "";
    if (tile.state === "arriving") return `${who} · arriving`;
    if (tile.state === "drawing") return `${who} · ${Math.round(100 * share)} %`;
    return who ? `${who} · waiting its turn` : "waiting";
  }

  showPicture(tile, job) {
    if (this.shown === tile.picture) return;
    this.shown = tile.picture;
    const number = `Picture ${tile.index + 1} of ${job.count}`;
    const picture = h("img", { alt: `${number}: ${line(job.settings?.prompt ?? "", 120)}` });
    fill(picture, tile.picture, job.count > 2 ? "small" : "full").then(() => {
      show(
        this.element,
        h(
          "button",
          { type: "button", class: "tile-open", title: `${number}, by ${tile.alias}`, onclick: () => this.open(tile.picture) },
          picture,
        ),
      );
    }, toastError);
  }
}
