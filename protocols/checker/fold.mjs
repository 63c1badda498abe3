// protocols/credit, "The fold": what entries come to, in whatever order and however often they are seen.

import { decodeEntry } from "./credit.mjs";

const NOTHING = { earned: 0, spent: 0, held: 0, contested: 0 };

// {author: {earned, spent, held, contested}} of those that a deal names.
export function fold(wires) {
  const entries = new Map(wires.map(decodeEntry).map((entry) => [entry.id, entry]));
  const balances = {};
  for (const deal of deals([...entries.values()])) addDeal(balances, deal);
  return balances;
}

// Each HOLD with what other entries say of it.
function deals(entries) {
  const about = groupBy(entries, holdOf);
  return entries.filter((entry) => entry.content?.tag === "hold").map((hold) => deal(hold, about.get(hold.id)));
}

const holdOf = (entry) => (entry.content?.tag === "hold" ? entry.id : entry.content?.hold_id);

function groupBy(items, keyOf) {
  const groups = new Map();
  for (const item of items) groups.set(keyOf(item), [...(groups.get(keyOf(item)) ?? []), item]);
  return groups;
}

function deal(hold, about) {
  const [payer, payee] = [hold.author, hold.content.payee];
  const by = (tag, author) => about.filter((entry) => entry.content.tag === tag && entry.author === author);
  const [receipts, releases] = [by("receipt", payer), by("release", payer)];
  const consented = releases.some((entry) => entry.content.payee_sig !== "");
  const claims = consented ? [] : by("claim", payee).filter((entry) => entry.content.payer === payer);
  const value = Math.min(hold.content.amount, Math.max(0, ...[...receipts, ...claims].map((entry) => entry.content.amount)));
  const closed = receipts.length + releases.length > 0;
  const contested = releases.length > 0 && claims.length > 0;
  return { payer, payee, value, held: closed ? 0 : hold.content.amount - value, contested: contested ? value : 0 };
}

function addDeal(balances, { payer, payee, value, held, contested }) {
  const [debtor, creditor] = [payer, payee].map((author) => (balances[author] ??= { ...NOTHING }));
  debtor.spent += value;
  debtor.held += held;
  creditor.earned += value;
  debtor.contested += contested;
  creditor.contested += contested;
}
