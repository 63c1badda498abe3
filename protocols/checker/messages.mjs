// protocols/advert, offer, job: messages, read by the tables of their specs.

import { readFileSync } from "node:fs";
import { decode, need } from "./codec.mjs";
import { fields } from "./types.mjs";

const SPECS = new URL("..", import.meta.url);

const KNOWN = {
  roles: ["requester", "worker", "hub", "archivist", "observer"],
  family: ["sd1", "sdxl", "sd3", "flux", "other"],
  "refusal/1.reason": (
    "unknown_model too_large too_many_steps too_many_pictures unsupported full price policy standing paused expired " +
    "other_mesh bad_offer bad_hold bad_chain not_mine engine"
  ).split(" "),
  "failed/1.reason": "unknown_model unsupported out_of_memory crashed bad_model bad_input busy stopped unpaid".split(" "),
};

// job: "Limits of whole messages"; where a heading says its own, that one.
const BYTES = { "preview/1": 65600, "chunk/1": 262208, "settled/1": 2048 };
const TEXT_BYTES = { "work/1": 16384 };
const MOST_MKUDOS = 2 ** 40;

// What the tables tell in words.
const RULES = {
  "advert/1": (m) => {
    need(m.vram_free_mib <= m.vram_total_mib, "vram_free_mib: more than there is");
    need((m.head_seq === 0) === (m.head_id === ""), "head_id: empty if and only if head_seq is 0");
  },
  "offer/1": (m) => {
    const life = m.expires_ms - m.created_ms;
    need(life >= 1 && life <= 600_000, "expires_ms: not 1 to 600,000 ms after created_ms");
    need(m.max_mkudos * m.count <= MOST_MKUDOS, "costs more than one hold");
  },
  "bid/1": (m) => need(m.mkudos * m.count <= MOST_MKUDOS, "costs more than one hold"),
  "progress/1": (m) => need(m.step <= m.steps, "step: beyond the last"),
};

// {tag: {bytes, tell}} of one spec: a heading with the tag, then a table of fields.
function readSpec(protocol) {
  const sections = readFileSync(new URL(`${protocol}/README.md`, SPECS), "utf8").split(/^#+ /m);
  const records = {};
  for (const section of sections.filter((text) => /^`[a-z]+\/1`/.test(text))) {
    const [heading, ...lines] = section.split("\n");
    const tag = heading.split("`")[1];
    const rows = lines.filter((line) => line.startsWith("| ")).map((line) => line.split("|").map((cell) => cell.trim()));
    const table = rows.slice(1).map(([, name, type]) => [name, type]).filter(([, type]) => /^(bin|uint|text|array)/.test(type));
    const [, told] = heading.match(/at most ([\d,]+) bytes/) ?? [];
    const context = (name) => ({ known: KNOWN[name] ?? KNOWN[`${tag}.${name}`], record: (type, value) => tell(records[type], value) });
    records[tag] = { tag, bytes: told ? Number(told.replaceAll(",", "")) : (BYTES[tag] ?? 1024), fields: fields(table, context) };
  }
  return records;
}

function tell(record, value) {
  need(Array.isArray(value) && value[0] === record.tag, `not a ${record.tag}`);
  const told = { tag: record.tag, ...record.fields(value.slice(1), record.tag) };
  RULES[record.tag]?.(told);
  return told;
}

const RECORDS = Object.assign({}, ...["advert", "offer", "job"].map(readSpec));

export const bytesOf = (tag) => RECORDS[tag].bytes;

export function decodeMessage(tag, data) {
  const textBytes = TEXT_BYTES[tag];
  return tell(RECORDS[tag], decode(data, { bytes: bytesOf(tag), ...(textBytes && { textBytes, unicode: true }) }));
}
