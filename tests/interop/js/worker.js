// protocols/offer and job, the worker's side: bids on what it can draw, draws it, and is paid picture by picture.

import { randomBytes } from "node:crypto";
import { Chain } from "../../../protocols/checker/chain.mjs";
import { Malformed, need } from "../../../protocols/checker/codec.mjs";
import { decodeSigned, sha256 } from "../../../protocols/checker/envelope.mjs";
import { sealKeyOf, unseal } from "../../../protocols/checker/sealing.mjs";
import { Delivery } from "./delivery.js";
import { keyOf } from "./identity.js";
import { JOB } from "./job.js";
import { BID, OFFER } from "./market.js";

const [PRICE, MOST_COUNT, MOST_PIXELS] = [1000, 4, 2 ** 20];
const BID_MS = 30_000;

export const MODEL = {
  name: "js-plain", digest: sha256(Buffer.from("js-plain")).toString("hex"), family: "other", default_side: 64,
  max_pixels: MOST_PIXELS, features: ["txt2img"], mpixel_step_ms: 0, millions: 0, context: 0,
};
export const DEVICE = {
  roles: ["worker"], device_kind: "cpu", device_name: "js", models: [MODEL], max_pixels: MOST_PIXELS, max_steps: 100,
  max_count: MOST_COUNT, slots: 1,
};

const bytes = (hex) => Buffer.from(hex, "hex");

export class Worker {
  secret = randomBytes(32);
  bids = new Map(); // bid id -> its offer and itself, until the award
  answers = new Map(); // offer id -> the wire of its bid
  chains = new Map(); // requester's key -> its credit chain

  // `told(delivery)` hears of each job that is over.
  constructor(peer, identity, log, told) {
    Object.assign(this, { peer, identity, log, told });
  }

  async start() {
    await this.peer.serve(OFFER, async (channel) => channel.finish(this.answer(await channel.receive(), channel.peerId)));
    await this.peer.serve(JOB, (channel) => this.awarded(channel));
    this.peer.subscribe(`/meshgen/${this.log.net}/offer/${MODEL.family}`, (wire, publisher) => {
      const { id, message } = readOffer(wire, publisher);
      need(message.net === this.log.net && Date.now() < message.expires_ms, "not current");
      if (message.model !== MODEL.name || !this.isDrawn(id, message.sample)) return;
      this.reply(wire, publisher, message.addresses).catch(() => {}); // it has left
    });
  }

  // Is it among those that are to answer an offer that many hear?
  isDrawn(offerId, sample) {
    const draw = sha256(Buffer.from("meshgen/offer-draw/v1\0"), bytes(offerId), this.identity.key).readUInt32BE();
    return draw < 2 ** (32 - sample);
  }

  // To an offer that was heard by gossip.
  async reply(wire, publisher, addresses) {
    await this.peer.note(publisher, addresses);
    const channel = await this.peer.open(publisher, BID);
    await channel.finish(this.answer(wire, publisher));
    await this.peer.close(channel, BID);
  }

  // The signed bid or refusal for a signed offer: one offer, one bid.
  answer(wire, peerId) {
    const offer = readOffer(wire, peerId);
    if (this.answers.has(offer.id)) return this.answers.get(offer.id);
    const [reason, limit] = this.objection(offer.message);
    if (reason) return this.refusal(offer.message.net, offer.id, reason, limit);
    const bid = this.bid(offer);
    this.answers.set(offer.id, bid.wire);
    this.bids.set(bid.id, { offer, bid });
    return bid.wire;
  }

  objection(offer) {
    if (offer.net !== this.log.net) return ["other_mesh"];
    if (Date.now() >= offer.expires_ms) return ["expired"];
    if (offer.model !== MODEL.name || ![MODEL.digest, ""].includes(offer.digest)) return ["unknown_model"];
    if (offer.width * offer.height > MOST_PIXELS) return ["too_large", MOST_PIXELS];
    if (offer.features.length + offer.needs.length || offer.enlarge > 1) return ["unsupported"];
    return offer.max_mkudos < PRICE ? ["price", PRICE] : [];
  }

  refusal(net, offer_id, reason, limit = 0) {
    return this.identity.envelop("refusal/1", { net, offer_id, reason, limit }).wire;
  }

  bid(offer) {
    const { head } = this.log;
    const message = {
      net: this.log.net, offer_id: offer.id, digest: MODEL.digest, count: Math.min(offer.message.count, MOST_COUNT),
      mkudos: PRICE, start_ms: 0, picture_ms: 100, seal_key: sealKeyOf(this.secret).toString("hex"), head_seq: head.seq,
      head_id: head.id, known_seq: this.chainOf(offer.author).head?.seq ?? 0, expires_ms: Date.now() + BID_MS,
    };
    return { ...this.identity.envelop("bid/1", message), message };
  }

  chainOf(author) {
    if (!this.chains.has(author)) this.chains.set(author, new Chain(this.log.net, author));
    return this.chains.get(author);
  }

  async awarded(channel) {
    const award = decodeSigned("award/1", await channel.receive());
    need(award.author === keyOf(channel.peerId), "signed by another peer than the one that sent it");
    const { net, offer_id } = award.message;
    const accepted = this.accept(award);
    if (typeof accepted === "string") return channel.finish(this.refusal(net, offer_id, accepted));
    const delivery = new Delivery(channel, this.log, accepted);
    await delivery.run();
    this.told(delivery);
  }

  // What was agreed on, or the reason of a refusal. The chain is whole with what the award brings: nobody's is long here.
  accept({ author, message }) {
    const standing = this.bids.get(message.bid_id);
    if (standing?.offer.author !== author) return "not_mine";
    this.bids.delete(message.bid_id);
    const chain = this.chainOf(author);
    if (!holds(() => message.chain.forEach((wire) => chain.append(bytes(wire))))) return "bad_chain";
    const hold = chain.open.get(message.hold_id);
    if (!hold || hold.expires_ms <= Date.now()) return "bad_hold";
    const agreed = { ...standing, chain, hold, author, award: message };
    return holds(() => this.agree(agreed)) ? agreed : "bad_offer";
  }

  agree(agreed) {
    const { offer, bid, hold, award } = agreed;
    const work = unseal(this.secret, bytes(offer.id), bytes(bid.id), bytes(award.sealed));
    need(award.net === this.log.net && award.offer_id === offer.id, "award");
    need(award.count === work.seeds.length && award.count <= bid.message.count, "count");
    need(hold.payee === this.log.author && hold.amount >= award.count * PRICE, "hold: payee, amount");
    need(hold.payee_seq === bid.message.head_seq && hold.payee_head === bid.message.head_id, "hold: head");
    need(work.tag === "work/1" && work.digest === MODEL.digest, "work");
    ["model", "width", "height", "steps"].forEach((field) => need(work[field] === offer.message[field], `work: ${field}`));
    agreed.work = work;
  }
}

function readOffer(wire, peerId) {
  const offer = decodeSigned("offer/1", wire);
  need(offer.author === keyOf(peerId), "signed by another peer than the one that sent it");
  return offer;
}

// Does this go well? What is malformed does not; any other error is this worker's own.
function holds(attempt) {
  try {
    attempt();
    return true;
  } catch (error) {
    if (error instanceof Malformed) return false;
    throw error;
  }
}
