// protocols/job, the requester's side: hold the credit, award, take what comes, pay for it, settle.

import { createHash, randomBytes, randomInt } from "node:crypto";
import { need } from "../../../protocols/checker/codec.mjs";
import { domain } from "../../../protocols/checker/entry.mjs";
import { decodeSigned, sha256 } from "../../../protocols/checker/envelope.mjs";
import { decodeMessage, encodeMessage } from "../../../protocols/checker/messages.mjs";
import { decodeNote } from "../../../protocols/checker/notes.mjs";
import { seal } from "../../../protocols/checker/sealing.mjs";

export const JOB = "/meshgen/job/1";
const HOLD_MS = 120_000;
export const CHUNK_BYTES = 2 ** 18;
const PNG = "89504e470d0a1a0a0000000d49484452";

const bytes = (hex) => Buffer.from(hex, "hex");

// The order for a bid: {tag, offer_id, prompt, ...}.
export function orderFor(offer, bid, prompt) {
  const { model, width, height, steps, count } = offer.message;
  return {
    tag: "work/1", offer_id: offer.id, prompt, negative_prompt: "", model, digest: bid.message.digest, width, height, steps,
    guidance_milli: 7000, scheduler: "", seeds: Array.from({ length: count }, () => randomInt(2 ** 32)), preview_every: 0,
    inputs: [], strength_milli: 0, clip_skip: 1, tiling: 0, hires_fix: 0, loras: [], inversions: [], control: [], post: [],
  };
}

export class Job {
  awaited = "accepted/1"; // the next message of the worker's that is no progress; null at the end
  pictures = []; // {index, seed, png}, in the order they came
  commitments = []; // salt and SHA-256 of each
  progress = 0; // how often the worker told of it
  receipt = null;

  constructor(peer, identity, log, offer, bid, order) {
    Object.assign(this, { peer, identity, log, offer, bid, order });
  }

  // Hold, award, and the dialogue to its end. Returns what it came to: "done", or a refusal's or failure's reason.
  async run(workerId) {
    this.hold = this.holdCredit();
    const channel = await this.peer.open(workerId, JOB);
    await channel.send(this.award());
    for (let wire = await channel.receive(); wire !== null; wire = await channel.receive()) {
      const replies = this.feed(wire);
      if (replies.length) await channel.send(...replies);
      if (this.outcome) break;
    }
    await channel.finish(...(this.receipt ? [encodeMessage("settled/1", { entry: this.receipt.wire })] : []));
    await this.peer.close(channel, JOB);
    return this.outcome ?? "gone";
  }

  holdCredit() {
    const { message, author } = this.bid;
    return this.log.append({
      tag: "hold", job: sha256(randomBytes(32), bytes(this.offer.id)).toString("hex"), payee: author,
      amount: message.mkudos * this.order.seeds.length, expires_ms: Date.now() + HOLD_MS,
      payee_seq: message.head_seq, payee_head: message.head_id,
    });
  }

  award() {
    const { message, id } = this.bid;
    return this.identity.envelop("award/1", {
      net: message.net, offer_id: this.offer.id, bid_id: id, count: this.order.seeds.length, hold_id: this.hold.id,
      chain: this.log.wires.slice(message.known_seq).map((wire) => wire.toString("hex")),
      sealed: seal(this.order, bytes(message.seal_key), bytes(id)).toString("hex"),
    }).wire;
  }

  // One message of the worker's; what to answer. A breach throws.
  feed(wire) {
    const tag = wire.subarray(2, 2 + (wire[1] & 0x1f)).toString();
    if (tag === "progress/1") return this.note(decodeMessage(tag, wire));
    if (tag === "failed/1") return this.end(decodeMessage(tag, wire).reason);
    if (this.awaited === "accepted/1" && tag !== this.awaited) return this.end(this.refusal(wire).reason);
    const isEnd = tag === "done/1" && this.awaited === "result/1";
    need(isEnd || tag === this.awaited, `${this.awaited} was due`);
    return TURNS[tag](this, decodeMessage(tag, wire)) ?? [];
  }

  note({ index, step }) {
    need(this.awaited !== "accepted/1" && index < this.order.seeds.length && step <= this.order.steps, "progress of nothing");
    this.progress += 1;
    return [];
  }

  end(outcome) {
    this.outcome = outcome;
    return [];
  }

  refusal(wire) {
    const { author, message } = decodeSigned("refusal/1", wire);
    need(author === this.bid.author && message.offer_id === this.offer.id, "a refusal of somebody else");
    return message;
  }

  begin(result) {
    const { seeds, width, height } = this.order;
    need(result.index < seeds.length && !this.pictures.some(({ index }) => index === result.index), "no such result is due");
    need(result.seed === seeds[result.index], "another seed");
    need(result.size >= 1 && result.size <= 8 * width * height + 65_536, "no picture of that size");
    this.awaited = "chunk/1";
    this.arriving = { ...result, hash: createHash("sha256"), chunks: [], left: result.size };
  }

  take(data) {
    const { arriving } = this;
    need(data.length === Math.min(CHUNK_BYTES, arriving.left), "a chunk that is not full");
    arriving.chunks.push(data);
    arriving.left -= data.length;
    if (arriving.left === 0) this.complete(Buffer.concat(arriving.chunks));
  }

  complete(png) {
    const { index, seed, sha256: hash, salt } = this.arriving;
    const size = Buffer.alloc(8);
    size.writeUInt32BE(this.order.width);
    size.writeUInt32BE(this.order.height, 4);
    need(sha256(png).toString("hex") === hash, "another picture than its hash says");
    need(png.subarray(0, 24).equals(Buffer.concat([bytes(PNG), size])), "no PNG of that size");
    this.pictures.push({ index, seed, png });
    this.commitments.push(bytes(salt), bytes(hash));
    this.awaited = "bill/1";
  }

  // The terms that a bill for all so far has to have.
  due() {
    const { net, content, id, author } = this.hold;
    const result = sha256(domain("result"), ...this.commitments).toString("hex");
    const amount = this.bid.message.mkudos * this.pictures.length;
    return { net, job: content.job, hold_id: id, payer: author, payee: content.payee, amount, result };
  }

  // The voucher for a bill; for the last picture the RECEIPT is written first.
  pay(wire) {
    const [bill, due] = [decodeNote("bill", wire), this.due()];
    need(Object.entries(due).every(([name, value]) => bill[name] === value), "a bill of something else");
    this.bill = wire;
    if (this.pictures.length === this.order.seeds.length) this.settle();
    this.awaited = "result/1";
    return [encodeMessage("voucher/1", { voucher: this.log.note("voucher", due).toString("hex") })];
  }

  settle() {
    const { job, hold_id, payee, amount, result } = this.due();
    const bill_sig = this.bill.subarray(-64).toString("hex");
    const entry = this.log.append({ tag: "receipt", job, hold_id, payee, amount, result, units: this.pictures.length, bill_sig });
    this.receipt = { ...entry, wire: this.log.wires.at(-1).toString("hex") };
  }
}

const TURNS = {
  "accepted/1": (job, { hold_id }) => {
    need(hold_id === job.hold.id, "another hold");
    job.awaited = "result/1";
  },
  "result/1": (job, result) => job.begin(result),
  "chunk/1": (job, { data }) => job.take(bytes(data)),
  "bill/1": (job, { bill }) => job.pay(bytes(bill)),
  "done/1": (job, { results }) => {
    need(results === job.order.seeds.length && results === job.pictures.length, "done too early");
    job.end("done");
  },
};
