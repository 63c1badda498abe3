// protocols/job, the worker's side of one accepted job. A picture is of the colour that the seed's last bytes say.

import { randomBytes } from "node:crypto";
import { need } from "../../../protocols/checker/codec.mjs";
import { domain } from "../../../protocols/checker/entry.mjs";
import { sha256 } from "../../../protocols/checker/envelope.mjs";
import { decodeMessage, encodeMessage } from "../../../protocols/checker/messages.mjs";
import { decodeNote } from "../../../protocols/checker/notes.mjs";
import { CHUNK_BYTES } from "./job.js";
import { png } from "./png.js";

const hex = (bytes) => bytes.toString("hex");

export class Delivery {
  commitments = []; // salt and SHA-256 of each picture
  drawn = 0;
  receipt = null; // the entry

  constructor(channel, log, { bid, hold, author, award, work, chain }) {
    Object.assign(this, { channel, log, price: bid.message.mkudos, hold, payer: author, holdId: award.hold_id, work, chain });
  }

  async run() {
    await this.say("accepted/1", { hold_id: this.holdId });
    for (const [index, seed] of this.work.seeds.entries()) {
      await this.say("progress/1", { index, step: this.work.steps, steps: this.work.steps });
      await this.deliver(index, seed);
    }
    await this.say("done/1", { results: this.drawn });
    await this.settled();
  }

  async say(tag, message) {
    await this.channel.send(encodeMessage(tag, message));
  }

  async hear(tag) {
    const wire = await this.channel.receive();
    need(wire, "it left");
    return decodeMessage(tag, wire);
  }

  async deliver(index, seed) {
    const { width, height } = this.work;
    const [data, salt] = [png(width, height, [seed >>> 16, seed >>> 8, seed].map((byte) => byte & 0xff)), randomBytes(16)];
    const hash = sha256(data);
    await this.say("result/1", { index, seed, size: data.length, sha256: hex(hash), salt: hex(salt), compute_ms: 1 });
    for (let at = 0; at < data.length; at += CHUNK_BYTES) {
      await this.say("chunk/1", { data: hex(data.subarray(at, at + CHUNK_BYTES)) });
    }
    this.commitments.push(salt, hash);
    this.drawn += 1;
    await this.say("bill/1", { bill: hex(this.log.note("bill", this.due())) });
    await this.paid();
  }

  // What is owed for all pictures so far.
  due() {
    const result = hex(sha256(domain("result"), ...this.commitments));
    const { log, hold, holdId: hold_id, payer } = this;
    return { net: log.net, job: hold.job, hold_id, payer, payee: log.author, amount: this.price * this.drawn, result };
  }

  async paid() {
    const { voucher } = await this.hear("voucher/1");
    const [note, due] = [decodeNote("voucher", Buffer.from(voucher, "hex")), this.due()];
    const agrees = ["net", "hold_id", "payer", "payee", "amount"].every((name) => note[name] === due[name]);
    need(agrees, "a voucher for something else");
  }

  // The RECEIPT joins the payer's chain, whose rules judge it.
  async settled() {
    const { entry } = await this.hear("settled/1");
    this.receipt = this.chain.append(Buffer.from(entry, "hex"));
    need(this.receipt.content.hold_id === this.holdId && this.receipt.content.amount === this.due().amount, "another receipt");
  }
}
