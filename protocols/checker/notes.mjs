// protocols/credit, "Notes": what is signed beside the log. An entry embeds a note by its signature alone.

import { decode, encode, need } from "./codec.mjs";
import { verified } from "./ed25519.mjs";
import { AMOUNT, domain, NUMBER, openWire, SEQ } from "./entry.mjs";
import { sha256 } from "./envelope.mjs";
import { fields, writtenFields } from "./types.mjs";

const VERSION = 1;
const NOTE_BYTES = 512;
const ID = "bin 32";
const HEAD = { version: `uint ${VERSION}`, net: "bin 16" };
const SUMS = { earned: NUMBER, spent: NUMBER, held: NUMBER };

const NOTES = {
  bill: { job: ID, hold_id: ID, payer: ID, payee: ID, amount: AMOUNT, result: ID },
  voucher: { hold_id: ID, payer: ID, payee: ID, amount: AMOUNT },
  consent: { hold_id: ID, payer: ID, payee: ID },
  witness: { author: ID, upto_seq: SEQ, upto_id: ID, ...SUMS, peers_root: ID, witness: ID },
};
const SIGNERS = { bill: "payee", voucher: "payer", consent: "payee", witness: "witness" };

export const isNote = (name) => Object.hasOwn(NOTES, name);

export function decodeNote(name, wire) {
  const [note, sig] = openWire(wire, NOTE_BYTES);
  const { version, ...terms } = fields({ ...HEAD, ...NOTES[name] })(decode(note, { bytes: NOTE_BYTES }), name);
  need(isSigned(name, terms, sig.toString("hex")), "signature does not count");
  return { tag: name, ...terms };
}

// Whether `sig` counts for the note of these terms, {net, hold_id, ...} with bytes as hex.
export function isSigned(name, terms, sig) {
  const signer = Buffer.from(terms[SIGNERS[name]], "hex");
  return verified(signer, signedOfNote(name, encodeNote(name, terms)), Buffer.from(sig, "hex"));
}

export function encodeNote(name, terms) {
  return encode([VERSION, ...writtenFields({ net: "bin 16", ...NOTES[name] }, terms)]);
}

export const signedOfNote = (name, note) => Buffer.concat([domain(name), sha256(note)]);
