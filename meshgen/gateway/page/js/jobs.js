// Jobs that were asked for here: what becomes of each picture, and its keeping once it is there.
import { get, post, Refused, remove, fetchBlob } from "./api.js";
import { nameOf } from "./format.js";
import { Follower } from "./follower.js";
import { keepPicture } from "./pictures.js";
import { all, drop, put } from "./store.js";
import { say, toast } from "./toast.js";

const OVER = new Set(["done", "failed", "cancelled", "lost"]);
const KEPT_JOBS = 12;
const PREVIEWS = 6;

/** "change" with a job as its detail, "picture" with a record that has been kept. */
class Jobs extends EventTarget {
  constructor() {
    super();
    this.list = []; // the newest first
    this.follower = new Follower(
      (job, kind, data) => this.heard(job, kind, data),
      (job) => this.refresh(job),
    );
    this.collecting = new Map();
  }

  get running() {
    return this.list.filter((job) => !OVER.has(job.state));
  }

  find(id) {
    return this.list.find((job) => job.id === id);
  }

  /** Those of before a reload. What the node still knows is followed on. */
  async load() {
    const records = await all("jobs");
    this.list = records.sort((a, b) => b.created_ms - a.created_ms);
    for (const job of this.running) {
      job.notes = []; // they are told again
      this.follower.follow(job);
    }
    this.changed(null);
  }

  /** Ask for pictures. `body` is the whole request; `about` is kept with the job: its settings, inputs and purpose. */
  async submit(body, about) {
    const every = Math.max(1, Math.round((body.steps ?? 20) / PREVIEWS));
    const { id } = await post("/v1/jobs", { preview_every: every, ...body });
    const count = body.count ?? 1;
    const job = {
      id,
      created_ms: Date.now(),
      state: "offering",
      error: "",
      model: body.model ?? "",
      width: body.width ?? 0,
      height: body.height ?? 0,
      count,
      mkudos: 0,
      notes: [],
      tiles: Array.from({ length: count }, (_, index) => ({ index, state: "waiting" })),
      inputs: false,
      ...about,
    };
    if (about.inputs) {
      await put("files", about.inputs, `inputs/${id}`);
      job.inputs = true;
    }
    this.list.unshift(job);
    navigator.storage?.persist?.(); // else a browser may make room by forgetting the history
    await this.write(job);
    this.follower.follow(job);
    this.changed(job);
    return job;
  }

  async cancel(job) {
    try {
      await remove(`/v1/jobs/${job.id}`);
    } catch (error) {
      if (!(error instanceof Refused && error.status === 404)) throw error;
      await this.finish(job, "lost", "the node does not know it any more");
    }
  }

  cancelAll() {
    return Promise.allSettled(this.running.map((job) => this.cancel(job)));
  }

  /** Off the list; its pictures stay in the gallery. */
  async dismiss(job) {
    this.list = this.list.filter((other) => other !== job);
    await drop("jobs", job.id);
    this.changed(null);
  }

  async dismissFinished() {
    for (const job of this.list.filter((one) => OVER.has(one.state))) await this.dismiss(job);
  }

  // -- what is heard

  heard(job, kind, data) {
    const tile = job.tiles[data.index];
    if (kind === "progress" && tile && tile.state !== "there")
      Object.assign(tile, { state: "drawing", step: data.step, steps: data.steps, alias: data.alias });
    if (kind === "preview" && tile && tile.state !== "there") tile.preview = `data:image/jpeg;base64,${data.jpeg}`;
    if (kind === "part") this.part(job, data);
    if (kind === "note") job.notes.push(data.text);
    if (kind === "arrived" && tile) Object.assign(tile, { state: "arriving", step: tile.steps });
    if (kind === "state" && !OVER.has(data.state)) job.state = data.state;
    if (kind === "result") this.collect(job);
    if (kind === "end") this.refresh(job);
    this.changed(job);
  }

  part(job, data) {
    for (const index of data.indices) {
      const tile = job.tiles[index];
      if (!tile || tile.state === "there") continue;
      Object.assign(tile, { alias: data.alias, state: data.state === "lost" ? "waiting" : "given" });
      if (data.state === "lost") Object.assign(tile, { step: 0, preview: "" });
    }
  }

  /** The job as the node has it now: after its end, a pause, or a reload. */
  async refresh(job) {
    try {
      const view = await get(`/v1/jobs/${job.id}`);
      const collected = await this.collect(job, view);
      if (OVER.has(view.state) && collected) await this.finish(job, view.state, view.error, view);
      else job.state = view.state;
      this.changed(job);
    } catch (error) {
      if (error instanceof Refused && error.status === 404)
        await this.finish(job, "lost", "the node was restarted before it was done");
    }
  }

  async finish(job, state, error, view) {
    if (OVER.has(job.state)) return;
    Object.assign(job, { state, error, mkudos: view?.mkudos ?? job.mkudos, finished_ms: Date.now() });
    this.follower.leave(job);
    await this.write(job);
    say(ending(job));
    this.changed(job);
    const finished = this.list.filter((one) => OVER.has(one.state));
    for (const old of finished.slice(KEPT_JOBS)) await this.dismiss(old);
  }

  /** One after the other for a job, so that no picture is fetched twice. False if it is to be tried again. */
  collect(job, view) {
    const next = (this.collecting.get(job.id) ?? Promise.resolve())
      .then(() => this.fetchNew(job, view))
      .then(() => true, unlessFull);
    this.collecting.set(job.id, next);
    return next;
  }

  async fetchNew(job, given) {
    if (job.tiles.every((tile) => tile.state === "there")) return;
    const view = given ?? (await get(`/v1/jobs/${job.id}`));
    Object.assign(job, { model: view.model || job.model, width: view.width, height: view.height, mkudos: view.mkudos });
    for (const result of view.results) {
      const tile = job.tiles[result.index];
      if (!tile || tile.state === "there") continue;
      const record = recordOf(job, result);
      await keepPicture(record, await fetchBlob(result.url));
      Object.assign(tile, { state: "there", picture: record.id, alias: result.worker_alias, preview: "" });
      say(`Picture ${result.index + 1} of ${job.count} is there, by ${nameOf(result.worker_alias, result.worker)}`);
      this.dispatchEvent(new CustomEvent("picture", { detail: record }));
      this.changed(job);
    }
    await this.write(job);
  }

  write(job) {
    const tiles = job.tiles.map(({ preview, ...tile }) => tile);
    return put("jobs", { ...job, tiles });
  }

  changed(job) {
    this.dispatchEvent(new CustomEvent("change", { detail: job }));
  }
}

/** A full disk stays full; anything else may be better next time. */
function unlessFull(error) {
  if (error.name !== "QuotaExceededError") return false;
  toast("This browser has no room for more pictures. Delete some in the gallery.", { bad: true });
  return true;
}

function recordOf(job, result) {
  return {
    id: `${job.id}-${result.index}`,
    job: job.id,
    index: result.index,
    made_ms: Date.now(),
    settings: job.settings,
    model: job.model,
    width: job.width,
    height: job.height,
    seed: result.seed,
    worker: result.worker,
    worker_alias: result.worker_alias,
    mkudos: result.mkudos,
    receipt: result.receipt,
    seconds: result.seconds,
    inputs: job.inputs,
    board: job.board ?? "",
  };
}

function ending(job) {
  const there = job.tiles.filter((tile) => tile.state === "there").length;
  if (job.state === "done") return `${there} of ${job.count} pictures are done`;
  return job.state === "cancelled" ? "The job was cancelled" : `The job failed: ${job.error}`;
}

export const isOver = (job) => OVER.has(job.state);
export const jobs = new Jobs();
