// Signed entries of a log: found by their id, and shown with all that they say.
import { get, query } from "./api.js";
import { h } from "./dom.js";
import { exactKudos, when } from "./format.js";

const PAGE = 500;
const EARLIER_MS = 3600_000;
const MOST_PAGES = 40;

/** Looks through the logs of these peers ("" is this node), from shortly before a time on; null if it is in none. */
export async function findEntry(id, peers, since_ms) {
  for (const peer of peers) {
    let since = 1;
    for (let page = 0; page < MOST_PAGES && since; page += 1) {
      const found = await get(
        query("/v1/credit/log", { peer, since, since_ms: Math.max(0, since_ms - EARLIER_MS), limit: PAGE }),
      );
      const entry = found.entries.find((one) => one.id === id);
      if (entry) return entry;
      since = found.next;
    }
  }
  return null;
}

export function entryCard(entry, marked = false) {
  const rows = [
    ["number", entry.seq],
    ["id", entry.id],
    ["when", when(entry.ts_ms)],
    ["by", entry.author],
    ["with", entry.with],
    ["amount", entry.mkudos === undefined ? undefined : `${exactKudos(entry.mkudos)} kudos`],
    ["about", entry.about],
    ...Object.entries(entry.says)
      .filter(([, value]) => value !== entry.with && value !== entry.mkudos && value !== entry.about)
      .map(([name, value]) => [name.replaceAll("_", " "), typeof value === "object" ? JSON.stringify(value) : value]),
  ].filter(([, value]) => value !== undefined && value !== "" && value !== null);
  return h(
    "div",
    { class: `entry ${marked ? "marked" : ""}` },
    h("h3", {}, `${entry.kind}: ${entry.words}`),
    h(
      "dl",
      { class: "pairs" },
      rows.map(([name, value]) => [h("dt", {}, name), h("dd", {}, String(value))]),
    ),
  );
}
