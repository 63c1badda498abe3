// protocols/sealing: HPKE (RFC 9180), base mode, X25519, HKDF-SHA256, ChaCha20-Poly1305, one message.

import { createCipheriv, createDecipheriv, createHmac, createPrivateKey } from "node:crypto";
import { createPublicKey, diffieHellman, generateKeyPairSync } from "node:crypto";
import { decode, Malformed, need } from "./codec.mjs";
import { decodeMessage, encodeMessage } from "./messages.mjs";
import { fields } from "./types.mjs";

const SECRET_DER = Buffer.from("302e020100300506032b656e04220420", "hex");
const PUBLIC_DER = Buffer.from("302a300506032b656e032100", "hex");
const KEM = Buffer.from("KEM\x00\x20", "latin1");
const SUITE = Buffer.from("HPKE\x00\x20\x00\x01\x00\x03", "latin1");
const [EMPTY, BASE_MODE] = [Buffer.alloc(0), Buffer.of(0)];
const AEAD = "chacha20-poly1305";
const BUCKET = 256;
const ORDERS = ["work/1", "text/1", "form/1"];
const PARTS = fields({ secret: "bin 32", offer_id: "bin 32", bid_id: "bin 32", sealed: "bin 0..2^16" });

const infoOf = (offer, bid) => Buffer.concat([Buffer.from("meshgen/work/1\0"), offer, bid]);
const hmac = (key, ...parts) => createHmac("sha256", key).update(Buffer.concat(parts)).digest();
const extract = (suite, salt, label, secret) => hmac(salt, Buffer.from("HPKE-v1"), suite, Buffer.from(label), secret);

// At most one block of 32 bytes is ever asked for.
function expand(suite, key, label, info, length) {
  const labeled = [Buffer.of(0, length), Buffer.from("HPKE-v1"), suite, Buffer.from(label), info, Buffer.of(1)];
  return hmac(key, ...labeled).subarray(0, length);
}

const secretKey = (raw) => createPrivateKey({ key: Buffer.concat([SECRET_DER, raw]), format: "der", type: "pkcs8" });
const publicKey = (raw) => createPublicKey({ key: Buffer.concat([PUBLIC_DER, raw]), format: "der", type: "spki" });
export const sealKeyOf = (secret) => rawOf(createPublicKey(secretKey(secret)));
const rawOf = (key) => key.export({ format: "der", type: "spki" }).subarray(-32);

// The key of the message and its nonce, for either side: its own secret key and the other's public one.
function keysOf(privateKey, other, enc, recipient, info) {
  const shared = extract(KEM, EMPTY, "eae_prk", diffieHellman({ privateKey, publicKey: publicKey(other) }));
  const secret = expand(KEM, shared, "shared_secret", Buffer.concat([enc, recipient]), 32);
  const hashes = [extract(SUITE, EMPTY, "psk_id_hash", EMPTY), extract(SUITE, EMPTY, "info_hash", info)];
  const [context, schedule] = [Buffer.concat([BASE_MODE, ...hashes]), extract(SUITE, secret, "secret", EMPTY)];
  return [expand(SUITE, schedule, "key", context, 32), expand(SUITE, schedule, "base_nonce", context, 12)];
}

function open(sealed, secret, info) {
  const [enc, own] = [sealed.subarray(0, 32), secretKey(secret)];
  const [key, nonce] = keysOf(own, enc, enc, rawOf(createPublicKey(own)), info);
  const decipher = createDecipheriv(AEAD, key, nonce, { authTagLength: 16 });
  decipher.setAuthTag(sealed.subarray(-16));
  return Buffer.concat([decipher.update(sealed.subarray(32, -16)), decipher.final()]);
}

// The order {tag, offer_id, ...}, for the holder of the bid's seal_key alone. A small-order key makes node:crypto throw.
export function seal(work, sealKey, bidId) {
  const data = encodeMessage(work.tag, work);
  const plain = Buffer.concat([data, Buffer.of(0x80), Buffer.alloc(BUCKET - 1 - (data.length % BUCKET))]);
  const own = generateKeyPairSync("x25519");
  const enc = rawOf(own.publicKey);
  const [key, nonce] = keysOf(own.privateKey, sealKey, enc, sealKey, infoOf(Buffer.from(work.offer_id, "hex"), bidId));
  const cipher = createCipheriv(AEAD, key, nonce, { authTagLength: 16 });
  return Buffer.concat([enc, cipher.update(plain), cipher.final(), cipher.getAuthTag()]);
}

function openOrRefuse(...all) {
  try {
    return open(...all);
  } catch {
    throw new Malformed("does not open"); // node:crypto has its own error for each way to fail, a small-order enc too
  }
}

function strip(plain) {
  const end = plain.findLastIndex((byte) => byte !== 0);
  need(plain.length % BUCKET === 0 && end >= 0 && plain[end] === 0x80, "padding");
  need(plain.length - end <= BUCKET, "padding: a bucket too long");
  return plain.subarray(0, end);
}

// The tag at the front says which kind of order it is.
function decodeOrder(data) {
  const tag = ORDERS.find((known) => data.subarray(1, 40).includes(known));
  need(tag, "no order");
  return decodeMessage(tag, data);
}

export function decodeSealed(data) {
  const parts = decode(data, { bytes: 2 ** 17 });
  PARTS(parts, "sealed");
  return unseal(...parts);
}

// The order inside, for the secret key, the offer and the bid that it was sealed for.
export function unseal(secret, offer, bid, sealed) {
  need(sealed.length >= 32 + 16, "too short to be sealed");
  const plain = openOrRefuse(sealed, secret, infoOf(offer, bid));
  const work = decodeOrder(strip(plain));
  need(work.offer_id === offer.toString("hex"), "work of another offer");
  return work;
}
