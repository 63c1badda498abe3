// protocols/roll: who belongs to a mesh, counted over its delegates' pages.

import { decode, need } from "./codec.mjs";
import { decodeSigned } from "./envelope.mjs";
import { decodeMessage } from "./messages.mjs";

export function decodeRoll(data) {
  const parts = decode(data, { bytes: 2 ** 22 });
  need(Array.isArray(parts) && parts.length > 0 && parts.every(Buffer.isBuffer), "a charter, then signed pages");
  const charter = decodeMessage("charter/1", parts[0]);
  const latest = new Map();
  for (const page of parts.slice(1).map((wire) => decodeSigned("roll-page/1", wire))) {
    if (!latest.has(page.author) || newer(page, latest.get(page.author))) latest.set(page.author, page);
  }
  return count(charter, [...latest.values()]);
}

const newer = (page, than) =>
  page.message.version > than.message.version || (page.message.version === than.message.version && page.id > than.id);

function count({ delegates, roll_threshold }, pages) {
  const heard = pages.filter(({ author }) => delegates.includes(author)).map(({ message }) => message);
  const expelled = enough(heard.flatMap((page) => page.expelled), roll_threshold).filter((who) => !delegates.includes(who));
  const admitted = enough(heard.flatMap((page) => page.admitted), roll_threshold).filter((who) => !expelled.includes(who));
  return { admitted, expelled };
}

function enough(votes, least) {
  const counts = new Map();
  votes.forEach((who) => counts.set(who, (counts.get(who) ?? 0) + 1));
  return [...counts].filter(([, number]) => number >= least).map(([who]) => who).sort();
}
