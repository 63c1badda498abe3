// A storyboard: its panels, what they share, and where its pictures are. It survives a reload.
import { uniqueId } from "./dom.js";
import { history } from "./history.js";
import { jobs } from "./jobs.js";
import { all, drop, put } from "./store.js";

export const FEWEST = 4;
export const MOST = 8;
const MAX_SEED = 2 ** 32;

const BLANK = {
  title: "",
  style: "",
  negative_prompt: "",
  model: "",
  width: 0,
  height: 0,
  steps: 20,
  guidance_scale: 5,
  policy: "consecutive",
  seed: 0,
  layout: "grid",
  captions: true,
  paper: "white",
};

const newPanel = () => ({ id: uniqueId(), text: "", caption: "", picture: "", job: "", seed: null });

/** "change" as a Form tells it: its detail is the set of keys. "panel" with a panel as its detail. */
export class Board extends EventTarget {
  constructor(kept) {
    super();
    const { id, made_ms, panels, ...values } = kept ?? {};
    this.id = id ?? uniqueId();
    this.made_ms = made_ms ?? Date.now();
    this.values = { ...BLANK, seed: crypto.getRandomValues(new Uint32Array(1))[0], ...values };
    this.panels = panels ?? Array.from({ length: 6 }, newPanel);
  }

  set(changes) {
    Object.assign(this.values, changes);
    this.write();
    this.tell(Object.keys(changes));
  }

  setPanel(panel, changes) {
    Object.assign(panel, changes);
    this.write();
    this.dispatchEvent(new CustomEvent("panel", { detail: panel }));
  }

  resize(count) {
    while (this.panels.length < Math.min(count, MOST)) this.panels.push(newPanel());
    this.panels.length = Math.max(count, FEWEST);
    this.write();
    this.tell(["panels"]);
  }

  move(panel, by) {
    const at = this.panels.indexOf(panel);
    if (!this.panels[at + by]) return;
    this.panels.splice(at, 1);
    this.panels.splice(at + by, 0, panel);
    this.write();
    this.tell(["panels"]);
  }

  tell(keys) {
    this.dispatchEvent(new CustomEvent("change", { detail: new Set(keys) }));
  }

  write() {
    return put("boards", { id: this.id, made_ms: this.made_ms, panels: this.panels, ...this.values });
  }

  // -- drawing

  /** What is asked for, for a panel. `again` draws another seed, whatever the policy says. */
  requestOf(panel, again = false) {
    const { style, negative_prompt, model, width, height, steps, guidance_scale } = this.values;
    const prompt = [panel.text.trim(), style.trim()].filter(Boolean).join(", ");
    const request = { prompt, steps, guidance_scale, seed: again ? drawn() : this.seedOf(panel), count: 1 };
    for (const [key, value] of Object.entries({ negative_prompt, model, width, height })) if (value) request[key] = value;
    return request;
  }

  seedOf(panel) {
    const { policy, seed } = this.values;
    if (policy === "free") return drawn();
    return policy === "same" ? seed : (seed + this.panels.indexOf(panel)) % MAX_SEED;
  }

  /** All of them at once, each a job of its own: the mesh draws them side by side. */
  async draw(panels, again = false) {
    const asked = await Promise.allSettled(panels.map((panel) => this.ask(panel, again)));
    const refused = asked.find((one) => one.status === "rejected");
    if (refused) throw refused.reason;
  }

  async ask(panel, again) {
    const request = this.requestOf(panel, again);
    const job = await jobs.submit(request, { settings: { ...request, seed_locked: true }, board: `${this.id}/${panel.id}` });
    this.setPanel(panel, { job: job.id, seed: request.seed });
  }

  jobOf(panel) {
    const job = jobs.find(panel.job);
    return job && jobs.running.includes(job) ? job : null;
  }

  /** Pictures that arrived while nobody looked. */
  async catchUp() {
    const records = await history.all();
    for (const panel of this.panels) {
      const found = records.find((record) => record.job === panel.job && record.board === `${this.id}/${panel.id}`);
      if (found && panel.picture !== found.id) this.setPanel(panel, { picture: found.id, seed: found.seed });
    }
  }
}

function drawn() {
  return crypto.getRandomValues(new Uint32Array(1))[0];
}

/** All boards, the newest first; at least one. */
export async function boards() {
  const kept = (await all("boards")).sort((a, b) => b.made_ms - a.made_ms);
  return kept.length ? kept.map((one) => new Board(one)) : [new Board()];
}

export const dropBoard = (board) => drop("boards", board.id);
