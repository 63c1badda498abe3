// protocols/credit: one's own chain, and what others may ask about it. This node keeps nobody else's.

import { Chain } from "../../../protocols/checker/chain.mjs";
import { decode, encode } from "../../../protocols/checker/codec.mjs";
import { encodeBody, signedOfEntry } from "../../../protocols/checker/entry.mjs";
import { sha256 } from "../../../protocols/checker/envelope.mjs";
import { encodeNote, signedOfNote } from "../../../protocols/checker/notes.mjs";
import { decodeSync, encodeSync } from "../../../protocols/checker/sync.mjs";

export const CREDIT = "/meshgen/credit/1";
const [BUCKETS, PRINT_BYTES, MOST_ENTRIES] = [256, 16, 1024];

export class Log {
  wires = []; // of the entries, from entry 1 on

  constructor(net, identity) {
    this.net = net;
    this.identity = identity;
    this.author = identity.key.toString("hex");
    this.chain = new Chain(net, this.author);
  }

  get head() {
    return this.chain.head;
  }

  // The entry with this content, {tag, ...}, signed and in its place; one that could not stand there throws.
  append(content) {
    const place = { net: this.net, author: this.author, seq: this.wires.length + 1, prev: this.head?.id ?? "" };
    const body = encodeBody({ ...place, ts_ms: Math.max(Date.now(), this.head?.ts_ms ?? 0), content });
    const wire = encode([body, this.identity.sign(signedOfEntry(body))]);
    const entry = this.chain.append(wire);
    this.wires.push(wire);
    return entry;
  }

  // A note of this identity's, as it travels.
  note(name, terms) {
    const note = encodeNote(name, terms);
    return encode([note, this.identity.sign(signedOfNote(name, note))]);
  }

  // One channel of /meshgen/credit/1: a question, its answer.
  async serve(channel) {
    const question = await channel.receive();
    const name = decode(question, { bytes: 2 ** 20, items: 1024 })[0].replace("/1", "");
    const answer = ANSWERS[name]?.(this, decodeSync(name, question)); // a witness of nobody's chain says nothing
    await channel.finish(...(answer ? [encodeSync(...answer)] : []));
  }

  frontiers(wanted) {
    const { head, author } = this;
    return head && wanted ? [{ author, seq: head.seq, id: head.id }] : [];
  }

  prints() {
    const prints = Buffer.alloc(BUCKETS * PRINT_BYTES);
    const [key, seq] = [Buffer.from(this.author, "hex"), Buffer.alloc(8)];
    seq.writeBigUInt64BE(BigInt(this.head.seq));
    const print = sha256(key, seq, Buffer.from(this.head.id, "hex")).subarray(0, PRINT_BYTES);
    print.copy(prints, key[0] * PRINT_BYTES); // one chain: the sum of its bucket is its own
    return prints.toString("hex");
  }
}

const ANSWERS = {
  "heads?": (log, { net, authors }) => {
    return ["heads", { net, frontiers: log.frontiers(!authors.length || authors.includes(log.author)) }];
  },
  "range?": (log, { net, author, from_seq, to_seq }) => {
    const held = author === log.author ? log.wires.slice(from_seq - 1, to_seq).slice(0, MOST_ENTRIES) : [];
    const head_seq = author === log.author ? log.wires.length : 0;
    return ["range", { net, author, head_seq, entries: held.map((wire) => wire.toString("hex")) }];
  },
  "prints?": (log, { net }) => ["prints", { net, prints: log.prints(), proofs: "00".repeat(PRINT_BYTES) }],
  "bucket?": (log, { net, bucket, after }) => {
    const first = parseInt(log.author.slice(0, 2), 16);
    return ["heads", { net, frontiers: log.frontiers(first === bucket && after < log.author) }];
  },
  "proofs?": (_log, { net }) => ["proofs", { net, proofs: [] }],
  "branch?": (_log, { net, author }) => ["branch", { net, author, entries: [] }],
};
