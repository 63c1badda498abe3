// What a worker is, has, takes and hears, a card each.
import { h } from "./dom.js";
import { memory } from "./format.js";

export const card = (title, ...content) => h("section", { class: "card", "aria-label": title }, h("h2", {}, title), ...content);

const pairs = (rows) =>
  h(
    "dl",
    { class: "pairs" },
    rows
      .filter(([, value]) => value !== "" && value !== null && value !== undefined)
      .map(([name, value]) => [h("dt", {}, name), h("dd", { class: "num" }, value)]),
  );

export function deviceCard(device, state) {
  const { sensors } = state;
  const total = device.vram_total_mib;
  return card(
    "Device",
    pairs([
      ["Device", device.device_name || device.device],
      ["Memory", total ? `${memory(device.vram_free_mib)} free of ${memory(total)}` : ""],
      [
        "Estimates",
        device.estimate_error === null || device.estimate_error === undefined
          ? ""
          : `off by ${Math.round(device.estimate_error * 100)} %`,
      ],
      ["Temperature", sensors?.temperature_c ? `${sensors.temperature_c} °C` : ""],
      ["Power", sensors?.power_w ? `${sensors.power_w} W` : ""],
    ]),
    (state.troubles ?? []).map((trouble) => h("p", { class: "small warm" }, wordsOf(trouble))),
    (state.notes ?? []).map((note) => h("p", { class: "small quiet" }, note)),
  );
}

function wordsOf(trouble) {
  return typeof trouble === "string" ? trouble : (trouble.text ?? Object.values(trouble).join(" · "));
}

export function modelsCard(state, local) {
  const served = new Set(state.models);
  const rest = local.filter((model) => !served.has(model.name));
  return card(
    "Models",
    state.models.length
      ? h(
          "div",
          { class: "tags" },
          state.models.map((name) => h("span", { class: "tag accent" }, h("span", { class: "cut" }, name))),
        )
      : h("p", { class: "quiet" }, "None is served."),
    rest.length > 0 && h("p", { class: "small faint" }, `Here, but not served: ${rest.map((model) => model.name).join(", ")}`),
    h("p", { class: "small faint" }, "More: ", h("code", {}, "meshgen models add")),
  );
}

export function rulesCard(rules) {
  const limit = (value, unit = "") => (value ? `${value}${unit}` : "no limit");
  return card(
    "What it takes",
    pairs([
      ["For whom", rules.only_friends ? `friends alone (${rules.friends})` : "everybody"],
      ["Not", rules.declines.join(", ") || "nothing is declined"],
      ["When", rules.hours.join(", ") || "always"],
      ["Largest", `${(rules.max_pixels / 1e6).toFixed(1)} megapixels`],
      ["Steps", `at most ${rules.max_steps}`],
      ["Pictures", `at most ${rules.max_count} a job, ${rules.max_queue} waiting`],
      ["Refused words", rules.refuse_words + rules.refuse_patterns || ""],
      ["Hottest", limit(rules.max_temperature_c, " °C")],
      ["Power", limit(rules.max_power_w, " W")],
    ]),
  );
}

export function wantedCard(state) {
  const refused = Object.entries(state.refused);
  const wanted = state.wanted.map((one) =>
    h("span", { class: "tag" }, h("span", { class: "cut" }, one.model), h("strong", { class: "num" }, one.requesters)),
  );
  return card(
    "Asked for lately",
    wanted.length ? h("div", { class: "tags" }, wanted) : h("p", { class: "quiet" }, "Nobody asked for anything yet."),
    refused.length > 0 && [
      h("h3", {}, "Refused by your rules"),
      pairs(refused.map(([rule, number]) => [rule.replaceAll("_", " "), number])),
    ],
  );
}
