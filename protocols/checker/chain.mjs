// protocols/credit, "Rules of a chain": whether an entry may stand depends on those before it, and on nothing else.

import { Malformed, need } from "./codec.mjs";
import { decodeEntry, decodeProof } from "./entry.mjs";
import { sha256 } from "./envelope.mjs";
import { isSigned } from "./notes.mjs";

const DAY_MS = 24 * 3600 * 1000;
const LONGEST_HOLD_MS = 7 * DAY_MS;
const LONGEST_WORD_MS = 400 * DAY_MS;
const [RETIRE, ROTATE, RECOVER] = [1, 2, 3];

export class Chain {
  head = null;
  genesis = null;
  closed = false; // by a rotation
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
    need(!this.closed, "nothing follows a rotation");
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

function needAhead(entry, expires, longest) {
  need(entry.ts_ms < expires && expires <= entry.ts_ms + longest, "expires_ms");
}

const RULES = {
  genesis(chain, entry, genesis) {
    chain.genesis = { ...genesis, account: genesis.account || entry.id };
  },

  hold(chain, entry, hold) {
    need(hold.payee !== entry.author, "HOLD for oneself");
    needAhead(entry, hold.expires_ms, LONGEST_HOLD_MS);
    chain.open.set(entry.id, hold);
  },

  receipt(chain, entry, receipt) {
    const hold = chain.opened(receipt.hold_id);
    need(receipt.job === hold.job && receipt.payee === hold.payee, "another job or payee than the HOLD's");
    need(receipt.amount <= hold.amount, "over the HOLD");
    const terms = { ...receipt, net: entry.net, payer: entry.author };
    need(isSigned("bill", terms, receipt.bill_sig), "no such bill");
    chain.open.delete(receipt.hold_id);
  },

  release(chain, entry, release) {
    const hold = chain.opened(release.hold_id);
    const terms = { net: entry.net, hold_id: release.hold_id, payer: entry.author, payee: hold.payee };
    const consented = release.payee_sig !== "" && isSigned("consent", terms, release.payee_sig);
    const expired = release.payee_sig === "" && entry.ts_ms >= hold.expires_ms;
    need(consented || expired, "neither expired nor consented");
    chain.open.delete(release.hold_id);
  },

  claim(chain, entry, claim) {
    need(claim.payer !== entry.author, "CLAIM on oneself");
    need(claim.amount > (chain.claimed.get(claim.hold_id) ?? -1), "not above an earlier CLAIM");
    const terms = { ...claim, net: entry.net, payee: entry.author };
    need(isSigned("voucher", terms, claim.voucher_sig), "no such voucher");
    chain.claimed.set(claim.hold_id, claim.amount);
  },

  transfer(chain, entry, transfer) {
    need(transfer.payee !== entry.author && transfer.amount >= 1, "TRANSFER of nothing or to oneself");
  },

  vouch(chain, entry, vouch) {
    need(vouch.account !== chain.genesis.account, "VOUCH for oneself");
    needAhead(entry, vouch.expires_ms, LONGEST_WORD_MS);
  },

  advisory(chain, entry, advisory) {
    needAhead(entry, advisory.expires_ms, LONGEST_WORD_MS);
  },

  key(chain, entry, { op, key, next_hash, at_seq, at_id, budget }) {
    need(key !== entry.author, "KEY about itself");
    need((at_seq === 0) === (at_id === ""), "at_seq and at_id stand together");
    need(budget === 0 || op === 0, "budget");
    if (op > RECOVER) return;
    need((op === ROTATE) === (next_hash !== ""), "next_hash");
    need((op === RETIRE || op === RECOVER) === (at_id !== ""), "at_id");
    need(op !== RECOVER || entry.seq === 2, "a recovery is entry 2");
    need(op !== ROTATE || hashOfKey(key) === chain.genesis.next_key_hash, "another next key");
    chain.closed = op === ROTATE;
  },

  checkpoint(chain, entry, { cosigs, ...sums }) {
    need(sums.upto_seq < entry.seq, "CHECKPOINT of what is to come");
    const witnesses = cosigs.map((cosig) => cosig.witness);
    need(!witnesses.includes(entry.author), "witness of itself");
    need(witnesses.every((witness, place) => place === 0 || witnesses[place - 1] < witness), "witnesses not in order, each once");
    const terms = { ...sums, net: entry.net, author: entry.author };
    need(cosigs.every(({ witness, sig }) => isSigned("witness", { ...terms, witness }, sig)), "not what its witness signed");
  },

  proof(chain, entry, proof) {
    if (proof.type !== 0) return;
    need(decodeProof(proof).net === entry.net, "a fork in another mesh");
  },

  charter(chain, entry, charter) {
    need((charter.version === 0) === (charter.parent === ""), "parent");
  },
};

// Would this entry's rules hold anywhere? All but those of its place, with nothing closed or claimed by the way.
export function standsAlone(chain, entry) {
  const alone = Object.assign(new Chain(chain.net, chain.author), { genesis: chain.genesis, open: new Map(chain.open) });
  try {
    RULES[entry.content.tag](alone, entry, entry.content);
    return true;
  } catch (error) {
    if (error instanceof Malformed) return false;
    throw error;
  }
}

export const hashOfKey = (key) => sha256(Buffer.from(key, "hex")).toString("hex");
