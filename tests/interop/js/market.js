// protocols/offer: an offer made heard, and what comes back.

import { randomBytes } from "node:crypto";
import { need } from "../../../protocols/checker/codec.mjs";
import { decodeSigned } from "../../../protocols/checker/envelope.mjs";
import { keyOf } from "./identity.js";
import { again } from "./runtime.js";

export const OFFER = "/meshgen/offer/1";
export const BID = "/meshgen/bid/1";
const LIFETIME_MS = 60_000;

export class Market {
  open = new Map(); // offer id -> what takes its answers

  constructor(peer, identity, log) {
    Object.assign(this, { peer, identity, log });
  }

  async start() {
    await this.peer.serve(BID, async (channel) => {
      const answer = readAnswer(await channel.receive(), channel.peerId);
      this.open.get(answer.message.offer_id)?.(answer); // none: it is too late
    });
  }

  // A signed offer for a picture: {wire, id, message}. `change` exchanges fields.
  offer(model, change = {}) {
    const now = Date.now();
    const message = {
      net: this.log.net, nonce: randomBytes(16).toString("hex"), model: model.name, digest: model.digest,
      family: model.family, width: 64, height: 64, steps: 4, count: 1, features: [],
      max_mkudos: 1_000_000, created_ms: now, expires_ms: now + LIFETIME_MS, addresses: this.peer.addresses().slice(0, 8),
      shared: 0, nsfw: 0, needs: [], enlarge: 1, tokens: 0, context: 0, sample: 0, ...change,
    };
    return { ...this.identity.envelop("offer/1", message), message };
  }

  // Heard by all that follow its family; the first answer that comes by itself.
  async gossip(offer) {
    const answered = new Promise((resolve) => this.open.set(offer.id, resolve));
    await again(() => this.peer.publish(`/meshgen/${this.log.net}/offer/${offer.message.family}`, offer.wire));
    const answer = await answered;
    this.open.delete(offer.id);
    return answer;
  }

  // Asked straight: the worker's answer.
  async ask(worker, offer) {
    return readAnswer(await this.peer.ask(worker, OFFER, offer.wire), worker);
  }
}

// A signed bid or refusal, {author, id, message}, of the peer that sent it.
export function readAnswer(wire, peerId) {
  const tag = wire.subarray(0, 16).includes("refusal/1") ? "refusal/1" : "bid/1";
  const answer = decodeSigned(tag, wire);
  need(answer.author === keyOf(peerId), "signed by another peer than the one that sent it");
  return answer;
}
