// The second reader of the law: every vector, chain and fold of protocols/, judged from the specs alone.
// node protocols/checker/check.mjs [folder with the protocols]

import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { isDeepStrictEqual } from "node:util";
import { accounts } from "./accounts.mjs";
import { decodeCharter } from "./charter.mjs";
import { Chain } from "./chain.mjs";
import { decode, Malformed, need } from "./codec.mjs";
import { decodeEntry, encodeBody } from "./entry.mjs";
import { decodeSigned } from "./envelope.mjs";
import { fold } from "./fold.mjs";
import { decodeInvite } from "./invite.mjs";
import { decodeMessage, encodeMessage } from "./messages.mjs";
import { decodeNote, encodeNote, isNote } from "./notes.mjs";
import { decodeSealed } from "./sealing.mjs";
import { decodeSync, encodeSync } from "./sync.mjs";
import { decodeRoll } from "./roll.mjs";
import { price } from "./tariff.mjs";

const root = process.argv[2] ?? fileURLToPath(new URL("..", import.meta.url));

// What decodes a vector of this protocol and kind into what its `expect` tells.
const DECODERS = {
  codec: (kind, data) => ({ value: typedValue(decode(data, { unicode: kind === "unicode" })) }),
  envelope: (kind, data) => decodeSigned(`${kind.replace("signed ", "")}/1`, data),
  sealing: (kind, data) => decodeSealed(data),
  credit: decodeCredit,
  advert: decodePlain,
  offer: decodePlain,
  order: decodePlain,
  job: decodePlain,
  pulse: decodePlain,
  charter: decodeCharter,
  roll: (kind, data) => (kind === "roll-counted" ? decodeRoll(data) : decodePlain(kind, data)),
  invite: decodeInvite,
};

// What reads must write the very bytes again, or what it writes would be another message.
function twoWays(told, again, data) {
  need(again.equals(data), "it writes other bytes than it read");
  return told;
}

function decodePlain(kind, data) {
  const message = decodeMessage(`${kind}/1`, data);
  return twoWays(message, encodeMessage(`${kind}/1`, message), data);
}

const inside = (wire) => decode(wire, { bytes: wire.length })[0];

function decodeCredit(kind, data) {
  if (kind === "entry") {
    const entry = decodeEntry(data);
    return entry.content ? twoWays(entry, encodeBody(entry), inside(data)) : entry;
  }
  if (!isNote(kind)) {
    const message = decodeSync(kind, data);
    return twoWays(message, encodeSync(kind, message), data);
  }
  const note = decodeNote(kind, data);
  return twoWays(note, encodeNote(kind, note), inside(data));
}

function typedValue(value) {
  if (typeof value === "number") return { uint: value };
  if (typeof value === "string") return { text: value };
  return Buffer.isBuffer(value) ? { bin: value.toString("hex") } : { array: value.map(typedValue) };
}

// What disagrees, in words, or "" where a decoder takes what it should and refuses what it should.
function judge(valid, expect, attempt) {
  try {
    const told = attempt();
    if (!valid) return "accepted, but it is invalid";
    const seen = Object.fromEntries(Object.keys(expect).map((key) => [key, told[key]]));
    return isDeepStrictEqual(seen, expect) ? "" : `decoded to ${JSON.stringify(seen)}`;
  } catch (error) {
    if (!(error instanceof Malformed)) return `${error.stack.split("\n").slice(0, 2).join(" ")}`; // a fault of the checker
    return valid ? `refused: ${error.message}` : "";
  }
}

const bytes = (hex) => Buffer.from(hex, "hex");

function judgeVector(vector, valid) {
  return judge(valid, vector.expect, () => DECODERS[vector.protocol](vector.kind, bytes(vector.hex)));
}

function judgeChain(told, valid) {
  const chain = new Chain(told.net, told.author);
  const wires = told.entries.map(bytes);
  const last = wires.pop();
  const broken = judge(true, {}, () => wires.forEach((wire) => chain.append(wire)) ?? {});
  return broken || judge(valid, told.expect, () => chain.append(last));
}

// Neither order nor repeats may matter.
function judgeSet(told, work) {
  const wires = told.entries.map(bytes);
  for (const order of [wires, [...wires].reverse(), [...wires, ...wires]]) {
    const wrong = judge(true, { whole: told.expect }, () => ({ whole: work(order) }));
    if (wrong) return wrong;
  }
  return "";
}

const judgeFold = (told) => judgeSet(told, (wires) => fold(wires, (told.forks ?? []).map((pair) => pair.map(bytes))));

const judgePrices = (told) =>
  judge(true, { prices: told.prices.map(({ mkudos }) => mkudos) }, () => ({ prices: told.prices.map((work) => price(told.tariff, work)) }));

const KINDS = [
  ["vectors", "vectors/valid", (told) => judgeVector(told, true)],
  ["vectors", "vectors/invalid", (told) => judgeVector(told, false)],
  ["chains", "chains/valid", (told) => judgeChain(told, true)],
  ["chains", "chains/invalid", (told) => judgeChain(told, false)],
  ["folds", "folds", judgeFold],
  ["prices", "prices", judgePrices],
  ["accounts", "accounts", (told) => judgeSet(told, accounts)],
];

function filesIn(folder) {
  return existsSync(folder) ? readdirSync(folder).filter((name) => name.endsWith(".json")).sort().map((name) => join(folder, name)) : [];
}

function check(protocol) {
  const row = { protocol };
  for (const [column, folder, judgeFile] of KINDS) {
    const files = filesIn(join(root, protocol, folder));
    const wrong = files.map((file) => [file, judgeFile(JSON.parse(readFileSync(file, "utf8")))]).filter(([, why]) => why);
    wrong.forEach(([file, why]) => disagreements.push(`${relative(root, file)}: ${why.slice(0, 300)}`));
    row[column] ??= [0, 0];
    row[column] = [row[column][0] + files.length - wrong.length, row[column][1] + files.length];
  }
  return row;
}

const disagreements = [];
const protocols = readdirSync(root).filter((name) => existsSync(join(root, name, "vectors"))).sort();
console.log(["protocol", ...new Set(KINDS.map(([column]) => column))].map((name) => name.padEnd(12)).join(""));
for (const { protocol, ...counts } of protocols.map(check)) {
  const cells = Object.values(counts).map(([passed, all]) => (all ? `${passed} of ${all}` : "-"));
  console.log([protocol, ...cells].map((cell) => cell.padEnd(12)).join(""));
}
disagreements.forEach((line) => console.error(line));
process.exitCode = disagreements.length ? 1 : 0; // an exit() would cut off what is still on its way into a pipe
