// protocols/envelope: an Ed25519 key, its peer id, and what it signs.

import "./runtime.js";
import { createPrivateKey, sign } from "node:crypto";
import { generateKeyPairFromSeed, publicKeyFromRaw } from "@libp2p/crypto/keys";
import { peerIdFromPrivateKey, peerIdFromPublicKey, peerIdFromString } from "@libp2p/peer-id";
import { encode } from "../../../protocols/checker/codec.mjs";
import { sha256, signedOf } from "../../../protocols/checker/envelope.mjs";
import { encodeMessage } from "../../../protocols/checker/messages.mjs";

const PKCS8 = Buffer.from("302e020100300506032b657004220420", "hex");

export class Identity {
  static async of(seed) {
    return new Identity(seed, await generateKeyPairFromSeed("Ed25519", seed));
  }

  constructor(seed, libp2pKey) {
    this.libp2pKey = libp2pKey;
    this.peerId = peerIdFromPrivateKey(libp2pKey).toString();
    this.key = Buffer.from(libp2pKey.publicKey.raw);
    this.secret = createPrivateKey({ key: Buffer.concat([PKCS8, seed]), format: "der", type: "pkcs8" });
  }

  sign(data) {
    return sign(null, data, this.secret);
  }

  // A message as JSON shows it, in its envelope: {wire, id}, the id in hex.
  envelop(tag, message) {
    const body = encodeMessage(tag, message);
    const id = sha256(this.key, body);
    return { wire: encode([body, this.key, this.sign(signedOf(tag, id))]), id: id.toString("hex") };
  }
}

// Between the two ways to write a key: hex, as messages show it, and the peer id.
export const keyOf = (peerId) => Buffer.from(peerIdFromString(peerId).publicKey.raw).toString("hex");
export const peerIdOf = (key) => peerIdFromPublicKey(publicKeyFromRaw(Buffer.from(key, "hex"))).toString();
