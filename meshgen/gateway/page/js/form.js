// What the Create form holds. It survives a reload; the pictures in it lie in the browser's base.
import { keep, kept } from "./keeping.js";
import { base64 } from "./pictures.js";
import { drop, put, take } from "./store.js";

export const BLANK = Object.freeze({
  prompt: "",
  negative_prompt: "",
  model: "",
  width: 0,
  height: 0,
  steps: 20,
  guidance_scale: 5,
  scheduler: "",
  seed: null,
  seed_locked: false,
  count: 1,
  strength: 0.75,
  loras: [],
  inversions: [],
  post: [],
  clip_skip: 1,
  tiling: false,
  hires_fix: false,
  nsfw: false,
  private: false,
  shared: null,
  max_mkudos: null,
});
const MAX_SEED = 2 ** 32;
const ONLY_HERE = new Set(["seed_locked", "strength", "seed"]);

export class Form extends EventTarget {
  constructor() {
    super();
    this.values = { ...BLANK, ...kept("form", {}) };
    this.source = null;
    this.mask = null;
  }

  async load() {
    this.source = (await take("things", "source")) ?? null;
    this.mask = (await take("things", "mask")) ?? null;
  }

  set(changes) {
    Object.assign(this.values, changes);
    keep("form", this.values);
    this.tell(Object.keys(changes));
  }

  /** Another source makes the mask that was painted over the last one worthless. */
  async setSource(blob) {
    this.source = blob;
    this.mask = null;
    await Promise.all([blob ? put("things", blob, "source") : drop("things", "source"), drop("things", "mask")]);
    this.tell(["source", "mask"]);
  }

  async setMask(blob) {
    this.mask = blob;
    await (blob ? put("things", blob, "mask") : drop("things", "mask"));
    this.tell(["mask"]);
  }

  /** All of it from a picture's settings. */
  async use(settings, inputs) {
    const known = Object.fromEntries(Object.entries(settings).filter(([key]) => key in BLANK));
    await this.setSource(inputs?.source ?? null);
    if (inputs?.mask) await this.setMask(inputs.mask);
    this.set({ ...BLANK, ...known });
    this.tell(["everything"]);
  }

  tell(keys) {
    this.dispatchEvent(new CustomEvent("change", { detail: new Set(keys) }));
  }
}

/** A request without its pictures: what differs from doing nothing. */
export function requestOf(values) {
  const request = { prompt: values.prompt.trim() };
  for (const [key, value] of Object.entries(values)) {
    if (ONLY_HERE.has(key) || key === "prompt") continue;
    const same = JSON.stringify(value) === JSON.stringify(BLANK[key]);
    if (!same || key === "steps" || key === "guidance_scale") request[key] = value;
  }
  request.seed = values.seed_locked && values.seed !== null ? values.seed : Math.floor(Math.random() * MAX_SEED);
  return request;
}

/** The request as the node takes it, with its pictures. */
export async function withPictures(request, { source, mask, strength }) {
  if (!source) return request;
  const pictures = { source: await base64(source), strength };
  return mask ? { ...request, ...pictures, mask: await base64(mask) } : { ...request, ...pictures };
}
