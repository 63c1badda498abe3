// protocols/advert: who is there, by introduction, by gossip, from the directory table.

import { decode, encode, Malformed, need } from "../../../protocols/checker/codec.mjs";
import { decodeSigned, sha256 } from "../../../protocols/checker/envelope.mjs";
import { keyOf, peerIdOf } from "./identity.js";

export const PRESENCE = "/meshgen/presence/1";
const [LIFETIME_MS, GOODBYE_MS] = [90_000, 1500];
const MOST_AHEAD_MS = 12 * 60_000; // ten minutes, and two for clocks
const ANSWER = { bytes: 2 ** 20, items: 64, depth: 1 };

// What a peer without an engine says of it.
const NOTHING = {
  alias: "js", agent: "js-interop/1", roles: ["requester"], device_kind: "", device_name: "", vram_total_mib: 0, vram_free_mib: 0,
  models: [], max_pixels: 0, max_steps: 0, max_count: 0, policies: [], price_permille: 1000, slots: 0, queued: 0, adapters: [],
};

const advertKey = (peerId) => `/meshgen/${peerId}`;
const seqOf = (wire) => decodeSigned("advert/1", wire).message.seq;

// What the directory table may hold.
export const TABLE = {
  validate(key, wire) {
    const { author, message } = decodeSigned("advert/1", Buffer.from(wire));
    need(author === keyOf(Buffer.from(key).toString().split("/")[2]), "an advert under another's key");
    need(message.expires_ms > Date.now(), "expired");
  },
  select(_key, wires) {
    const numbers = wires.map((wire) => seqOf(Buffer.from(wire)));
    return numbers.indexOf(Math.max(...numbers));
  },
};

export class Presence {
  known = new Map(); // peer's key -> its freshest advert
  waiting = [];
  seq = 0;

  // `device` says what an advert is to say beyond NOTHING.
  constructor(peer, identity, log, device = {}) {
    Object.assign(this, { peer, identity, log, device, topic: `/meshgen/${log.net}/presence` });
  }

  async start() {
    await this.peer.serve(PRESENCE, (channel) => this.introduce(channel));
    this.peer.subscribe(this.topic, (wire, publisher) => {
      need(this.learn(wire) === keyOf(publisher), "an advert that its author did not publish");
    });
  }

  // One's own advert, as of now.
  own(life_ms = LIFETIME_MS) {
    const { head } = this.log;
    const now = Date.now();
    this.seq = Math.max(this.seq + 1, now);
    return this.identity.envelop("advert/1", {
      ...NOTHING, net: this.log.net, seq: this.seq, expires_ms: now + life_ms, addresses: this.peer.addresses().slice(0, 8),
      head_seq: head?.seq ?? 0, head_id: head?.id ?? "", ...this.device,
    }).wire;
  }

  // Tell everybody; how many neighbours took it.
  async advertise(life_ms = LIFETIME_MS) {
    return this.peer.publish(this.topic, this.own(life_ms));
  }

  // A last advert, over as soon as it was heard.
  async leave() {
    await this.advertise(GOODBYE_MS);
  }

  // Ask a peer whom it knows, and tell it of oneself.
  async meet(peerId) {
    const wires = decode(await this.peer.ask(peerId, PRESENCE, this.own()), ANSWER);
    wires.forEach((wire) => this.consider(wire));
    return wires.length;
  }

  async introduce(channel) {
    const theirs = await channel.receive();
    if (theirs?.length) this.consider(theirs);
    await channel.finish(encode([this.own()]));
  }

  async toTable() {
    return this.peer.put(advertKey(this.identity.peerId), this.own());
  }

  async fromTable(peerId) {
    const wire = await this.peer.get(advertKey(peerId));
    return wire && decodeSigned("advert/1", wire).message;
  }

  // Peer ids that serve a model, by the table.
  async servers(model) {
    const name = sha256(Buffer.from(this.log.net, "hex"), Buffer.from(model)).toString("hex").slice(0, 40);
    return this.peer.providers(`/meshgen-model/${name}`);
  }

  // An advert that somebody passes on: one that counts for nothing is passed over.
  consider(wire) {
    try {
      this.learn(wire);
    } catch (error) {
      if (!(error instanceof Malformed)) throw error;
    }
  }

  // Keep an advert; its author's key. One that counts for nothing throws.
  learn(wire) {
    const { author, message } = decodeSigned("advert/1", wire);
    const now = Date.now();
    need(message.net === this.log.net && now < message.expires_ms && message.expires_ms <= now + MOST_AHEAD_MS, "not current");
    if (author !== this.log.author && message.seq > (this.known.get(author)?.seq ?? 0)) {
      this.known.set(author, message);
      this.peer.note(peerIdOf(author), message.addresses).catch(() => {}); // none that can be dialled is the peer's own loss
      this.waiting = this.waiting.filter((look) => !look());
    }
    return author;
  }

  // The first advert, there or to come, that is `wanted`: [author, advert].
  async find(wanted) {
    return new Promise((resolve) => {
      const look = () => {
        const found = [...this.known].find(([, advert]) => wanted(advert));
        if (found) resolve(found);
        return found;
      };
      if (!look()) this.waiting.push(look);
    });
  }
}
