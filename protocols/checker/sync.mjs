// protocols/credit, "How logs travel": the messages of /meshgen/credit/1.

import { decode, encode } from "./codec.mjs";
import { NUMBER, SEQ, WIRE_BYTES } from "./entry.mjs";
import { tagged, writtenFields } from "./types.mjs";

const [NET, ID, MAYBE_ID] = ["bin 16", "bin 32", "bin 32 or empty"];
const WIRE = `bin 1..${WIRE_BYTES}`;
const LIMITS = { bytes: 2 ** 20, items: 1024 };

const MESSAGES = {
  "heads?": { net: NET, authors: "array 0..1024 of bin 32" },
  heads: { net: NET, frontiers: "array 0..1024 of f" },
  "range?": { net: NET, author: ID, from_seq: SEQ, to_seq: SEQ },
  range: { net: NET, author: ID, head_seq: NUMBER, entries: `array 0..1024 of ${WIRE}` },
  "prints?": { net: NET },
  prints: { net: NET, prints: "bin 4096", proofs: "bin 16" },
  "bucket?": { net: NET, bucket: "uint 0..255", after: MAYBE_ID },
  "proofs?": { net: NET, after: MAYBE_ID },
  proofs: { net: NET, proofs: "array 0..32 of fork/1" },
  "branch?": { net: NET, author: ID, after_seq: NUMBER, after_id: MAYBE_ID },
  branch: { net: NET, author: ID, entries: `array 0..256 of ${WIRE}` },
  "witness?": {
    net: NET, author: ID, upto_seq: SEQ, upto_id: ID, earned: NUMBER, spent: NUMBER, held: NUMBER, peers_root: ID,
  },
  news: { net: NET, frontiers: "array 0..256 of f", proofs: "array 0..4 of fork/1" },
  fork: { wire_a: WIRE, wire_b: WIRE },
};

const PARTS = { f: { author: ID, seq: SEQ, id: ID }, "fork/1": MESSAGES.fork };
const RECORDS = Object.fromEntries(Object.entries(PARTS).map(([tag, types]) => [tag, tagged(tag, types)]));
const READERS = Object.fromEntries(Object.entries(MESSAGES).map(([name, types]) => [name, tagged(`${name}/1`, types, RECORDS)]));

export const decodeSync = (name, data) => READERS[name](decode(data, LIMITS));

export const encodeSync = (name, message) => encode([`${name}/1`, ...writtenFields(MESSAGES[name], message, PARTS)]);
