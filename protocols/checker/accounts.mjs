// protocols/credit, "Accounts": whom the keys speak for.

import { hashOfKey } from "./chain.mjs";
import { decodeEntry } from "./entry.mjs";

const [ADD, RETIRE, ROTATE, RECOVER] = [0, 1, 2, 3];

// {key: the account that it speaks for, or the key itself if nobody let it in} of all whose GENESIS is known.
export function accounts(wires) {
  const said = new Said(wires.map(decodeEntry));
  const accountOf = ([key, { account }]) => [key, members(said, account).has(key) ? account : key];
  return Object.fromEntries([...said.genesis].map(accountOf));
}

class Said {
  genesis = new Map(); // author -> {account, next_key_hash, founds}
  words = []; // KEYs, {author, seq, op, key, ...}

  constructor(entries) {
    for (const { author, id, seq, content } of entries) {
      if (content?.tag === "genesis") this.genesis.set(author, { ...content, account: content.account || id, founds: !content.account });
      if (content?.tag === "key") this.words.push({ author, seq, ...content });
    }
  }

  names(key, account) {
    return this.genesis.get(key)?.account === account;
  }

  // What a key said while it was to be believed.
  of(key, op, until) {
    return this.words.filter((word) => word.author === key && word.op === op && word.seq <= (until.get(key) ?? Infinity));
  }

  // The recoveries of a key by the one that its GENESIS committed to.
  recoveries(key, account) {
    const { next_key_hash } = this.genesis.get(key);
    const counts = ({ author }) => this.names(author, account) && hashOfKey(author) === next_key_hash;
    return this.words.filter((word) => word.op === RECOVER && word.key === key && counts(word));
  }
}

// The keys that speak for an account: from the root's line down, a line's keys, then whom they retire and add.
function members(said, account) {
  const root = [...said.genesis].find(([, genesis]) => genesis.account === account && genesis.founds);
  const lines = root ? [{ first: root[0], retired: new Map() }] : [];
  const found = new Set();
  for (const { first, retired } of lines) {
    if (found.has(first)) continue;
    const until = new Map(retired); // key -> its last entry that the account stands by
    const line = lineOf(said, account, first, until);
    line.forEach((key) => found.add(key));
    const words = (op) => line.flatMap((key) => said.of(key, op, until));
    const above = new Map(retired); // what counts in the lines below, and in those alone
    words(RETIRE).forEach(({ key, at_seq }) => shorten(above, key, at_seq));
    words(ADD).forEach(({ key }) => said.names(key, account) && lines.push({ first: key, retired: above }));
  }
  return found;
}

function shorten(until, key, seq) {
  until.set(key, Math.min(seq, until.get(key) ?? Infinity));
}

// A key and its successors by rotation and recovery; what was recovered ends where its heir says.
function lineOf(said, account, first, until) {
  const line = [first];
  for (const key of line) {
    const recoveries = said.recoveries(key, account);
    recoveries.forEach(({ at_seq }) => shorten(until, key, at_seq));
    const committed = (word) => said.names(word.key, account) && said.genesis.get(word.key).next_key_hash === word.next_hash;
    const rotations = said.of(key, ROTATE, until).filter(committed);
    const heirs = [...recoveries.map((word) => word.author), ...rotations.map((word) => word.key)];
    line.push(...new Set(heirs.filter((heir) => !line.includes(heir))));
  }
  return line;
}
