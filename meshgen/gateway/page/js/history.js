// The pictures of this browser, as the gallery and others see them.
import { jobs } from "./jobs.js";
import { fileOf } from "./pictures.js";
import { addPicture, drop, keysOf, pictures, removePictures, take } from "./store.js";

/** "change" when pictures came or went. */
class History extends EventTarget {
  constructor() {
    super();
    this.list = null;
    jobs.addEventListener("picture", ({ detail }) => {
      if (this.list) this.list = [detail, ...this.list.filter((one) => one.id !== detail.id)];
      this.tell();
    });
  }

  /** Records, the newest first. */
  async all() {
    if (!this.list) {
      this.list = await pictures();
      await this.tidy();
    }
    return this.list;
  }

  async find(id) {
    return (await this.all()).find((record) => record.id === id) ?? null;
  }

  /** The source and mask that a picture was made from, if any. */
  async inputs(record) {
    return record.inputs ? ((await take("files", `inputs/${record.job}`)) ?? null) : null;
  }

  /** Takes pictures away; what it returns brings them back. */
  async remove(ids) {
    const gone = new Set(ids);
    const records = (await this.all()).filter((record) => gone.has(record.id));
    const files = await Promise.all(records.map((record) => take("files", record.id)));
    await removePictures(ids);
    this.list = this.list.filter((record) => !gone.has(record.id));
    this.tell();
    return () => this.restore(records, files);
  }

  async restore(records, files) {
    await Promise.all(records.map((record, at) => files[at] && addPicture(record, files[at])));
    this.list = null;
    await this.all();
    this.tell();
  }

  /** What jobs began with goes with the last of their pictures; looked at once a visit, so that a deletion can be undone. */
  async tidy() {
    const used = new Set([...this.list, ...jobs.list].map((one) => `inputs/${one.job ?? one.id}`));
    const kept = await keysOf("files");
    await Promise.all(kept.filter((key) => key.startsWith("inputs/") && !used.has(key)).map((key) => drop("files", key)));
  }

  tell() {
    this.dispatchEvent(new Event("change"));
  }
}

export const history = new History();

/** Does every word stand in the picture's prompt, model, seed or worker? */
export function fits(record, text) {
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  const { prompt = "", negative_prompt = "" } = record.settings ?? {};
  const all = `${prompt} ${negative_prompt} ${record.model} ${record.seed} ${record.worker_alias}`.toLowerCase();
  return words.every((word) => all.includes(word));
}

export function fileName(record) {
  const words = (record.settings?.prompt ?? "").toLowerCase().match(/[\p{L}\p{N}]+/gu) ?? ["picture"];
  return `${words.slice(0, 6).join("-").slice(0, 48)}-${record.seed}.png`;
}

export { fileOf };
