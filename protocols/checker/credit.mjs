// protocols/credit: entries, what they hold, notes, and the messages that carry them.

import { decode, encode, need } from "./codec.mjs";
import { verified } from "./ed25519.mjs";
import { sha256 } from "./envelope.mjs";
import { fields } from "./types.mjs";

const VERSION = 1;
const AMOUNT = "uint 0..2^40";
const NUMBER = "uint 0..2^53-1";
const SEQ = "uint 1..2^53-1";
const BODY_BYTES = 1024;
const LARGE_BODY_BYTES = 4096;
const LARGE_KINDS = [11, 12];
const WIRE_BYTES = LARGE_BODY_BYTES + 128;

const domain = (name) => Buffer.from(`meshgen/credit/${name}/v1\0`);

const BODY = fields([
  ["version", `uint ${VERSION}`], ["net", "bin 16"], ["author", "bin 32"], ["seq", SEQ], ["prev", "bin 32 or empty"],
  ["ts_ms", NUMBER], ["kind", "uint 0..255"],
]);

// kind -> [its name, its fields]
const KINDS = {
  0: ["genesis", [["account", "bin 32 or empty"], ["next_key_hash", "bin 32"], ["label", "text 0..64"]]],
  1: ["hold", [
    ["job", "bin 32"], ["payee", "bin 32"], ["amount", AMOUNT], ["expires_ms", NUMBER], ["payee_seq", SEQ], ["payee_head", "bin 32"],
  ]],
  2: ["receipt", [
    ["job", "bin 32"], ["hold_id", "bin 32"], ["payee", "bin 32"], ["amount", AMOUNT], ["result", "bin 32"], ["units", "uint 0..2^32"],
    ["bill_sig", "bin 64"],
  ]],
  3: ["claim", [["hold_id", "bin 32"], ["payer", "bin 32"], ["amount", AMOUNT], ["voucher_sig", "bin 64"], ["result", "bin 32"]]],
  14: ["release", [["hold_id", "bin 32"], ["reason", "uint 0..255"], ["payee_sig", "bin 64 or empty"]]],
};

const tellers = Object.fromEntries(Object.entries(KINDS).map(([kind, [tag, pairs]]) => [kind, { tag, tell: fields(pairs) }]));

function tellContent(kind, data) {
  const known = tellers[kind];
  return known ? { tag: known.tag, ...known.tell(data, known.tag) } : null;
}

// data as JSON shows it; a kind that is not known may hold any array.
const tellData = (value) => (Array.isArray(value) ? value.map(tellData) : Buffer.isBuffer(value) ? value.toString("hex") : value);

// [what is signed, signature] of a wire; `bytes` is the limit of the wire.
function openWire(wire, bytes) {
  const parts = decode(wire, { bytes });
  fields([["inside", "bin 0..2^20"], ["sig", "bin 64"]])(parts, "wire");
  return parts;
}

export function decodeEntry(wire) {
  const [body, sig] = openWire(wire, WIRE_BYTES);
  const items = decode(body, { bytes: LARGE_BODY_BYTES });
  need(Array.isArray(items) && items.length === 8 && Array.isArray(items[7]), "body: not 7 fields and an array");
  const { version, ...entry } = BODY(items.slice(0, 7), "body");
  need(LARGE_KINDS.includes(entry.kind) || body.length <= BODY_BYTES, "body: too long for its kind");
  need((entry.seq === 1) === (entry.prev === ""), "prev: empty if and only if seq is 1");
  const id = sha256(domain("entry"), body);
  const content = tellContent(entry.kind, items[7]);
  need(verified(items[2], Buffer.concat([domain("entry-sig"), id]), sig), "signature does not count");
  return { ...entry, data: tellData(items[7]), id: id.toString("hex"), content };
}

// Notes: [1, net, field, ...], and who signs.
const NOTES = {
  bill: { signer: "payee", fields: ["job", "hold_id", "payer", "payee", "amount", "result"] },
  voucher: { signer: "payer", fields: ["hold_id", "payer", "payee", "amount"] },
  consent: { signer: "payee", fields: ["hold_id", "payer", "payee"] },
};

const noteType = (name) => (name === "amount" ? AMOUNT : "bin 32");

export function decodeNote(name, wire) {
  const [note, sig] = openWire(wire, 512);
  const pairs = NOTES[name].fields.map((field) => [field, noteType(field)]);
  const { version, ...told } = fields([["version", `uint ${VERSION}`], ["net", "bin 16"], ...pairs])(decode(note, { bytes: 512 }), name);
  need(noteSigned(name, told, sig.toString("hex")), "signature does not count");
  return { tag: name, ...told };
}

// Whether `sig` makes a note of these terms ({net, hold_id, ...}, bytes as hex) count.
export function noteSigned(name, terms, sig) {
  const bytes = (field) => Buffer.from(terms[field], "hex");
  const values = NOTES[name].fields.map((field) => (field === "amount" ? terms.amount : bytes(field)));
  const note = encode([VERSION, bytes("net"), ...values]);
  return verified(bytes(NOTES[name].signer), Buffer.concat([domain(name), sha256(note)]), Buffer.from(sig, "hex"));
}

const FRONTIER = fields([["author", "bin 32"], ["seq", SEQ], ["id", "bin 32"]]);

function frontier(value) {
  need(Array.isArray(value) && value[0] === "f", 'not a ["f", author, seq, id]');
  return { tag: "f", ...FRONTIER(value.slice(1), "f") };
}

const SYNC = {
  "heads?": [["net", "bin 16"], ["authors", "array 0..1024 of bin 32"]],
  heads: [["net", "bin 16"], ["frontiers", "array 0..1024 of f/"]],
  "range?": [["net", "bin 16"], ["author", "bin 32"], ["from_seq", SEQ], ["to_seq", SEQ]],
  range: [["net", "bin 16"], ["author", "bin 32"], ["head_seq", NUMBER], ["entries", `array 0..1024 of bin 1..${WIRE_BYTES}`]],
};

export function decodeSync(name, data) {
  const values = decode(data, { bytes: 2 ** 20, items: 1024 });
  need(Array.isArray(values) && values[0] === `${name}/1`, `not a ${name}/1`);
  const tell = fields(SYNC[name], { record: (type, value) => frontier(value) });
  return { tag: `${name}/1`, ...tell(values.slice(1), name) };
}
