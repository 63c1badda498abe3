// protocols/credit, "The fold" and "Forks": what entries come to, in whatever order and however often they are seen.

import { Chain, standsAlone } from "./chain.mjs";
import { decodeEntry, decodeFork, decodeProof } from "./entry.mjs";

const NOTHING = { earned: 0, spent: 0, held: 0, contested: 0 };

// {author: {earned, spent, held, contested}} of those that a deal or a TRANSFER names. `forks` are pairs of wires.
export function fold(wires, forks) {
  const all = [...new Map(wires.map((wire) => ({ ...decodeEntry(wire), wire })).map((entry) => [entry.id, entry])).values()];
  const forkedAt = convictions(all, forks);
  const entries = heard(all, forkedAt);
  const balances = {};
  deals(entries, forkedAt).forEach((deal) => addDeal(balances, deal));
  ofKind(entries, "transfer").forEach((gift) => addGift(balances, gift));
  return balances;
}

const ofKind = (entries, tag) => entries.filter((entry) => entry.content?.tag === tag);

// author -> the lowest number for which there is evidence.
function convictions(entries, forks) {
  const proofs = ofKind(entries, "proof").filter((entry) => entry.content.type === 0);
  const told = [...forks.map((pair) => decodeFork(...pair)), ...proofs.map((entry) => decodeProof(entry.content))];
  const forkedAt = new Map();
  for (const { author, seq } of told) forkedAt.set(author, Math.min(seq, forkedAt.get(author) ?? Infinity));
  return forkedAt;
}

// Valid chains, and what counts of those who forked.
function heard(entries, forkedAt) {
  const before = entries.filter(({ author, seq }) => seq < (forkedAt.get(author) ?? Infinity));
  return [...before, ...[...forkedAt].flatMap(([author, s]) => counting(entries.filter((entry) => entry.author === author), s))];
}

const MONEY = ["hold", "receipt", "claim", "transfer", "release"];

// Of one author's entries at and after the fork: a set, so a HOLD of any branch stands open for whatever closes it.
function counting(entries, s) {
  if (entries.length === 0) return [];
  const chain = new Chain(entries[0].net, entries[0].author);
  const inOrder = [...entries].sort((one, other) => one.seq - other.seq);
  for (const { seq, wire } of inOrder) if (seq < s) chain.append(wire);
  if (inOrder.filter(({ seq }) => seq < s).length < s - 1) chain.open.clear(); // what is missing may have closed them
  const money = inOrder.filter(({ seq, content }) => seq >= s && MONEY.includes(content?.tag));
  for (const hold of ofKind(money, "hold")) if (standsAlone(chain, hold)) chain.open.set(hold.id, hold.content);
  return money.filter((entry) => standsAlone(chain, entry));
}

// Each HOLD with what others say of it.
function deals(entries, forkedAt) {
  const about = new Map(ofKind(entries, "hold").map((hold) => [hold.id, []]));
  for (const entry of entries) about.get(entry.content?.hold_id)?.push(entry);
  return ofKind(entries, "hold").map((hold) => deal(hold, about.get(hold.id), forkedAt));
}

function deal(hold, about, forkedAt) {
  const { payee, job, amount, payee_seq } = hold.content;
  const said = (tag, author) => ofKind(about, tag).filter((entry) => entry.author === author).map((entry) => entry.content);
  const receipts = said("receipt", hold.author).filter((receipt) => receipt.job === job && receipt.payee === payee);
  const releases = said("release", hold.author);
  const consented = releases.some(({ payee_sig }) => payee_sig !== "");
  const claims = consented ? [] : said("claim", payee).filter((claim) => claim.payer === hold.author && claim.hold_seq === hold.seq);
  const isVoid = payee_seq >= (forkedAt.get(payee) ?? Infinity);
  const value = isVoid ? 0 : Math.min(amount, Math.max(0, ...[...receipts, ...claims].map((each) => each.amount)));
  const held = receipts.length + releases.length > 0 ? 0 : amount - value;
  const contested = receipts.length === 0 && releases.length > 0 && claims.length > 0 ? value : 0;
  return { payer: hold.author, payee, value, held, contested };
}

const balanceOf = (balances, author) => (balances[author] ??= { ...NOTHING });

function addDeal(balances, { payer, payee, value, held, contested }) {
  const [debtor, creditor] = [balanceOf(balances, payer), balanceOf(balances, payee)];
  debtor.spent += value;
  debtor.held += held;
  creditor.earned += value;
  debtor.contested += contested;
  creditor.contested += contested;
}

function addGift(balances, { author, content }) {
  balanceOf(balances, author).spent += content.amount;
  balanceOf(balances, content.payee).earned += content.amount;
}
