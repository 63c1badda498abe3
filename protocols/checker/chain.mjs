// protocols/credit, "Rules of a chain": whether an entry may stand depends on those before it, and on nothing else.

import { need } from "./codec.mjs";
import { decodeEntry, noteSigned } from "./credit.mjs";

const LONGEST_HOLD_MS = 7 * 24 * 3600 * 1000;

export class Chain {
  head = null;
  open = new Map(); // hold id -> the HOLD's content
  claimed = new Map(); // hold id -> the greatest amount claimed so far

  constructor(net, author) {
    this.net = net;
    this.author = author;
  }

  // The entry, taken in; one that may not stand changes nothing.
  append(wire) {
    const entry = decodeEntry(wire);
    need(entry.net === this.net && entry.author === this.author, "another mesh or author");
    this.link(entry);
    if (entry.content) RULES[entry.content.tag](this, entry, entry.content);
    this.head = entry;
    return entry;
  }

  link(entry) {
    need(entry.seq === (this.head?.seq ?? 0) + 1, "seq is not the next");
    need((entry.seq === 1) === (entry.kind === 0), "entry 1 is the GENESIS, and only that");
    if (this.head === null) return;
    need(entry.prev === this.head.id, "prev differs");
    need(entry.ts_ms >= this.head.ts_ms, "dated before the one before");
  }

  opened(holdId) {
    need(this.open.has(holdId), "no open HOLD");
    return this.open.get(holdId);
  }
}

const RULES = {
  genesis() {},

  hold(chain, entry, hold) {
    need(hold.payee !== entry.author, "HOLD for oneself");
    need(entry.ts_ms < hold.expires_ms && hold.expires_ms <= entry.ts_ms + LONGEST_HOLD_MS, "expires_ms");
    chain.open.set(entry.id, hold);
  },

  receipt(chain, entry, receipt) {
    const hold = chain.opened(receipt.hold_id);
    need(receipt.job === hold.job && receipt.payee === hold.payee, "another job or payee than the HOLD's");
    need(receipt.amount <= hold.amount, "over the HOLD");
    const terms = { ...receipt, net: entry.net, payer: entry.author };
    need(noteSigned("bill", terms, receipt.bill_sig), "no such bill");
    chain.open.delete(receipt.hold_id);
  },

  release(chain, entry, release) {
    const hold = chain.opened(release.hold_id);
    const terms = { net: entry.net, hold_id: release.hold_id, payer: entry.author, payee: hold.payee };
    const consented = release.payee_sig !== "" && noteSigned("consent", terms, release.payee_sig);
    const expired = release.payee_sig === "" && entry.ts_ms >= hold.expires_ms;
    need(consented || expired, "neither expired nor consented");
    chain.open.delete(release.hold_id);
  },

  claim(chain, entry, claim) {
    need(claim.payer !== entry.author, "CLAIM on oneself");
    need(claim.amount > (chain.claimed.get(claim.hold_id) ?? -1), "not above an earlier CLAIM");
    const terms = { ...claim, net: entry.net, payee: entry.author };
    need(noteSigned("voucher", terms, claim.voucher_sig), "no such voucher");
    chain.claimed.set(claim.hold_id, claim.amount);
  },
};
