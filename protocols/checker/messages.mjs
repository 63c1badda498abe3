// protocols/advert, offer, order, job, charter: messages, read by the tables of their specs.

import { readFileSync } from "node:fs";
import { decode, encode, need } from "./codec.mjs";
import { tagged, written } from "./types.mjs";

const SPECS = new URL("..", import.meta.url);

const DRAWING = "sd1 sdxl sd3 flux other";
const FAMILIES = `${DRAWING} text alchemy`;

// "a known word" by field, where two messages have that field by "message.field".
const KNOWN = {
  roles: "requester worker hub archivist observer",
  "model/1.family": FAMILIES,
  "offer/1.family": FAMILIES,
  kind: "lora inversion controlnet post",
  role: "source mask control",
  place: "none prompt negative_prompt",
  members: "open listed",
  "refusal/1.reason":
    "unknown_model too_large too_many_steps too_many_pictures unsupported full price policy standing paused expired " +
    "other_mesh bad_offer bad_hold bad_chain not_mine engine not_member",
  "failed/1.reason": "unknown_model unsupported out_of_memory crashed bad_model bad_input busy stopped withdrawn unpaid",
};

// Fields at the end that are written all or none: none while each is as by default.
const ADDED = { "charter/1": ["open", 1, 0] };

// job: "Limits of whole messages"; where a heading says its own, that one.
const BYTES = { "preview/1": 65600, "piece/1": 4160, "chunk/1": 262208, "settled/1": 2048 };
const OTHERS_BYTES = 1024;
const TEXTS = {
  "work/1": { textBytes: 16384, unicode: true },
  "form/1": { textBytes: 16384, unicode: true },
  "text/1": { textBytes: 49152, unicode: true },
  "piece/1": { textBytes: 4096, unicode: true },
};
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
    const [draws, writes] = [DRAWING.split(" ").includes(m.family), m.family === "text"];
    need(m.tokens > 0 === writes && (writes || m.context === 0), "tokens: of texts, and of nothing else");
    need(m.steps > 0 === draws, "steps: of pictures, and of nothing else");
    const least = draws ? 8 : writes ? 0 : 1;
    need(Math.min(m.width, m.height) >= least && !(writes && m.width + m.height), "width, height: no such size");
    need(Math.max(m.width, m.height) * m.enlarge <= 8192, "enlarge: beyond 8192 pixels a side");
  },
  "work/1": (m) => {
    const roles = m.inputs.map(({ role }) => role);
    need(new Set(roles).size === roles.length, "inputs: two of one role");
    need(!roles.includes("mask") || roles.includes("source"), "inputs: a mask without a source");
    need(m.control.length > 0 === roles.includes("control"), "control: without its picture, or a picture without it");
    need(m.loras.length + m.inversions.length + m.control.length + m.post.length <= 32, "more than 32 adapters");
  },
  "bid/1": (m) => need(m.mkudos * m.count <= MOST_MKUDOS, "costs more than one hold"),
  "charter/1": (m) => {
    need(/^[a-z0-9][a-z0-9.-]*$/.test(m.name), "name: not plain");
    need((m.version === 0) === (m.parent === ""), "parent: empty if and only if the version is 0");
    need(ascending(m.delegates), "delegates: not ascending, each once");
    need(m.threshold >= Math.min(1, m.delegates.length) && m.threshold <= m.delegates.length, "threshold");
    need(m.roll_threshold <= Math.max(1, m.delegates.length), "roll_threshold: more than there are delegates");
    need(m.members === "open" || m.delegates.length > 0, "members: nobody could list them");
    ["tariff/1", "charter-policies/1"].forEach((tag, place) => RULES[tag]([m.tariff, m.policies][place]));
  },
  "tariff/1": (m) => {
    need(m.area_exponent_permille % 125 === 0, "area_exponent_permille: not a multiple of 125");
    need(m.shared_mkudos <= m.surcharge_mkudos, "shared_mkudos: more than the surcharge");
  },
  "charter-policies/1": (m) => need(!m.declines.includes("paused"), "declines: paused"),
  "charter-signed/1": (m) => {
    need(ascending(m.signatures.map(({ key }) => key)), "signatures: not ascending, each key once");
    decodeMessage("charter/1", Buffer.from(m.body, "hex"));
  },
  "pong/1": (m) => need(m.said_ms >= m.heard_ms, "said_ms: before heard_ms"),
  "invite/1": (m) => {
    need((m.charter === "") === (m.name !== ""), "name: a charter or a plain name");
    need(m.name === "" || /^[a-z0-9][a-z0-9.-]*$/.test(m.name), "name: not plain");
    need(new Set(m.peers.map(({ key }) => key)).size === m.peers.length, "peers: one stands twice");
  },
  "peer/1": (m) => need(new Set(m.addresses).size === m.addresses.length, "addresses: one stands twice"),
  "roll-page/1": (m) => {
    need(ascending(m.admitted), "admitted: not ascending, each once");
    need(ascending(m.expelled), "expelled: not ascending, each once");
    need(!m.expelled.some((who) => m.admitted.includes(who)), "expelled: among the admitted too");
  },
  "progress/1": (m) => need(m.step <= m.steps, "step: beyond the last"),
};

const ascending = (keys) => keys.every((key, place) => place === 0 || keys[place - 1] < key);

const FIELDS = {}; // tag -> {name: type}
const READERS = {}; // tag -> what reads the message
const MOST_BYTES = {};

// Sections that begin with a tag and hold a table of its fields.
function readSpec(protocol) {
  const sections = readFileSync(new URL(`${protocol}/README.md`, SPECS), "utf8").split(/^#+ /m);
  for (const section of sections.filter((text) => /^`[a-z-]+\/1`/.test(text))) {
    const tag = section.split("`")[1];
    const [, bytes] = section.split("\n")[0].match(/at most ([\d,]+) bytes/) ?? [];
    MOST_BYTES[tag] = bytes ? Number(bytes.replaceAll(",", "")) : (BYTES[tag] ?? OTHERS_BYTES);
    FIELDS[tag] = fieldsOf(tag, section);
    READERS[tag] = tagged(tag, FIELDS[tag], READERS);
  }
}

function fieldsOf(tag, section) {
  const rows = section.split("\n").filter((line) => line.startsWith("| ")).map((line) => line.split("|").map((cell) => cell.trim()));
  const types = rows.map(([, name, type]) => [name, type]).filter(([, type]) => /^(bin|uint|text|array) |^text,|^[a-z-]+\/1$/.test(type));
  const words = (name) => `one of ${KNOWN[name] ?? KNOWN[`${tag}.${name}`]}`;
  return Object.fromEntries(types.map(([name, type]) => [name, type.replace("a known word", words(name))]));
}

["advert", "offer", "order", "job", "charter", "roll", "pulse", "invite"].forEach(readSpec);

export const bytesOf = (tag) => MOST_BYTES[tag];

export function decodeMessage(tag, data) {
  const message = READERS[tag](filled(tag, decode(data, { bytes: bytesOf(tag), ...TEXTS[tag] })));
  RULES[tag]?.(message);
  return message;
}

function filled(tag, value) {
  const [added, all] = [ADDED[tag], Object.keys(FIELDS[tag]).length + 1];
  if (!added || !Array.isArray(value)) return value;
  if (value.length === all - added.length) return [...value, ...added];
  need(value.length !== all || value.slice(-added.length).some((each, place) => each !== added[place]), "as by default: to be left out");
  return value;
}

// The bytes of a message as JSON shows it; nobody is sent what everybody would refuse.
export function encodeMessage(tag, message) {
  const data = encode(written(tag, message, FIELDS));
  decodeMessage(tag, data);
  return data;
}
