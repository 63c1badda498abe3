// protocols/credit, "Entries": the links of the chains.

import { decode, encode, need } from "./codec.mjs";
import { verified } from "./ed25519.mjs";
import { sha256 } from "./envelope.mjs";
import { fields, tagged, writtenFields } from "./types.mjs";

export const AMOUNT = "uint 0..2^40";
export const NUMBER = "uint 0..2^53-1";
export const SEQ = "uint 1..2^53-1";
export const WIRE_BYTES = 4224;
export const domain = (name) => Buffer.from(`meshgen/credit/${name}/v1\0`);

const [ID, MAYBE_ID, SIG, OCTET] = ["bin 32", "bin 32 or empty", "bin 64", "uint 0..255"];
const PROOF = 12;
const bodyBytes = (kind) => (kind === PROOF ? 4096 : 1024);

const KINDS = {
  0: { tag: "genesis", account: MAYBE_ID, next_key_hash: ID, label: "text 0..64" },
  1: { tag: "hold", job: ID, payee: ID, amount: AMOUNT, expires_ms: NUMBER, payee_seq: SEQ, payee_head: ID },
  2: { tag: "receipt", job: ID, hold_id: ID, payee: ID, amount: AMOUNT, result: ID, units: "uint 0..2^32", bill_sig: SIG },
  3: { tag: "claim", hold_id: ID, hold_seq: SEQ, payer: ID, amount: AMOUNT, voucher_sig: SIG, result: ID },
  4: { tag: "transfer", payee: ID, amount: AMOUNT, reason: OCTET, ref: MAYBE_ID },
  6: { tag: "vouch", account: ID, limit: AMOUNT, expires_ms: NUMBER, revoke: "uint 0..1" },
  9: {
    tag: "advisory", list: "text 1..32", op: "uint 0..1", subject_type: OCTET, subject: ID, label: "text 0..64",
    recommendation: OCTET, expires_ms: NUMBER, reason_hash: MAYBE_ID,
  },
  10: { tag: "key", op: OCTET, key: ID, next_hash: MAYBE_ID, at_seq: NUMBER, at_id: MAYBE_ID, budget: AMOUNT },
  11: {
    tag: "checkpoint", upto_seq: SEQ, upto_id: ID, earned: NUMBER, spent: NUMBER, held: NUMBER, peers_root: ID,
    cosigs: "array 0..5 of c",
  },
  [PROOF]: { tag: "proof", type: OCTET, body_a: "bin 1..1024", sig_a: SIG, body_b: "bin 1..1024", sig_b: SIG },
  13: { tag: "charter", doc_hash: ID, version: NUMBER, parent: MAYBE_ID },
  14: { tag: "release", hold_id: ID, reason: OCTET, payee_sig: "bin 64 or empty" },
};

const COSIG = { witness: ID, sig: SIG };
const RECORDS = { c: tagged("c", COSIG) };
const READERS = Object.fromEntries(
  Object.entries(KINDS).map(([kind, { tag, ...types }]) => [kind, { tag, read: fields(types, RECORDS) }]),
);
const VERSION = 1;
const PLACE = { net: "bin 16", author: ID, seq: SEQ, prev: MAYBE_ID, ts_ms: NUMBER, kind: OCTET };
const FRAME = fields({ version: `uint ${VERSION}`, ...PLACE });
const WIRE = fields({ inside: "bin 0..4096", sig: SIG });

// [what is signed, signature] of an entry's or a note's wire.
export function openWire(wire, bytes) {
  const parts = decode(wire, { bytes });
  WIRE(parts, "wire");
  return parts;
}

// A kind that this version does not know has no content and may hold any array.
function readContent(kind, data) {
  const known = READERS[kind];
  return known ? { tag: known.tag, ...known.read(data, known.tag) } : null;
}

const asJson = (value) => (Array.isArray(value) ? value.map(asJson) : Buffer.isBuffer(value) ? value.toString("hex") : value);

// The entry in a wire, its signature judged; whether it may stand in its chain is chain.mjs.
export function decodeEntry(wire) {
  const [body, sig] = openWire(wire, WIRE_BYTES);
  const items = decode(body, { bytes: bodyBytes(PROOF) });
  need(Array.isArray(items) && items.length === 8 && Array.isArray(items[7]), "body: not seven fields and an array");
  const [author, data] = [items[2], items[7]];
  const { version, ...frame } = FRAME(items.slice(0, 7), "body");
  need(body.length <= bodyBytes(frame.kind), "body: too long for its kind");
  need((frame.seq === 1) === (frame.prev === ""), "prev: empty if and only if seq is 1");
  const content = readContent(frame.kind, data);
  need(verified(author, signedOfEntry(body), sig), "signature does not count");
  return { ...frame, data: asJson(data), id: entryId(body).toString("hex"), content };
}

// The body of an entry, {net, author, seq, prev, ts_ms, content}, whose content has the tag of a known kind; what is signed of it.
export function encodeBody({ content, ...place }) {
  const [kind, { tag, ...types }] = Object.entries(KINDS).find(([, known]) => known.tag === content.tag);
  const data = writtenFields(types, content, { c: COSIG });
  return encode([VERSION, ...writtenFields(PLACE, { ...place, kind: Number(kind) }), data]);
}

export const entryId = (body) => sha256(domain("entry"), body);
export const signedOfEntry = (body) => Buffer.concat([domain("entry-sig"), entryId(body)]);

// The author's two entries for one place, the smaller id first, or Malformed: {net, author, seq}.
export function decodeFork(wireA, wireB) {
  const [a, b] = [decodeEntry(wireA), decodeEntry(wireB)];
  need(a.net === b.net && a.author === b.author && a.seq === b.seq, "two places");
  need(a.id < b.id, "one entry, or not in the order of ids");
  return { net: a.net, author: a.author, seq: a.seq };
}

export function decodeProof({ body_a, sig_a, body_b, sig_b }) {
  const wire = (body, sig) => encode([Buffer.from(body, "hex"), Buffer.from(sig, "hex")]);
  return decodeFork(wire(body_a, sig_a), wire(body_b, sig_b));
}
