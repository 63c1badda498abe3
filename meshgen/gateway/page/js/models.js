// What the mesh can draw with: models and what goes with them, with how many workers offer each.
import { get } from "./api.js";

const DRAWS_NOTHING = new Set(["text", "alchemy"]);
const FRESH_MS = 10_000;
export const FAMILIES = {
  sd1: "SD 1.5",
  sdxl: "SDXL",
  sd3: "SD 3",
  flux: "Flux",
  other: "other",
  text: "text",
  alchemy: "alchemy",
};

let known = { models: [], adapters: [], local: [], at: 0 };
let asking = null;

/** The models as they are known by now; asks the node if that is old. */
export async function meshModels() {
  if (Date.now() - known.at < FRESH_MS) return known;
  asking ??= ask().finally(() => (asking = null));
  return asking;
}

async function ask() {
  const found = await get("/v1/models");
  known = { models: found.mesh, adapters: found.adapters ?? [], local: found.local, at: Date.now() };
  return known;
}

/** Has the node said yet what there is? */
export const areKnown = () => known.at > 0;

export function forgetModels() {
  known.at = Math.min(known.at, 1);
}

export const drawing = (models) => models.filter((model) => !DRAWS_NOTHING.has(model.family));

export function modelNamed(name) {
  const models = drawing(known.models);
  return name ? models.find((model) => model.name === name) : models[0];
}

/** Adapters of a kind that fit a model's family; of several with one name the one that most have. */
export function adaptersFor(kind, family) {
  const seen = new Set();
  const fits = (one) => one.kind === kind && (!family || !one.family || one.family === family);
  return known.adapters.filter((one) => fits(one) && !seen.has(one.name) && seen.add(one.name));
}

export const SHAPES = [
  ["1:1", 1, 1],
  ["4:3", 4, 3],
  ["3:4", 3, 4],
  ["3:2", 3, 2],
  ["2:3", 2, 3],
  ["16:9", 16, 9],
  ["9:16", 9, 16],
];

/** Sides of a shape that has about as many pixels as the square that the model was made for. */
export function sidesOf(side, across, down) {
  const unit = side >= 512 ? 64 : 8;
  const round = (value) => Math.max(unit, Math.round(value / unit) * unit);
  return [round(side * Math.sqrt(across / down)), round(side * Math.sqrt(down / across))];
}

export const SCHEDULERS = [
  ["", "The model's own"],
  ["k_euler", "Euler"],
  ["k_euler_a", "Euler a"],
  ["k_dpmpp_2m", "DPM++ 2M"],
  ["k_dpmpp_2m_karras", "DPM++ 2M Karras"],
  ["k_dpmpp_sde", "DPM++ SDE"],
  ["k_dpmpp_sde_karras", "DPM++ SDE Karras"],
  ["k_dpmpp_2s_a", "DPM++ 2S a"],
  ["k_heun", "Heun"],
  ["k_lms", "LMS"],
  ["k_dpm_2", "DPM2"],
  ["k_dpm_2_a", "DPM2 a"],
  ["dpmsolver", "DPM solver"],
  ["ddim", "DDIM"],
  ["lcm", "LCM"],
];
