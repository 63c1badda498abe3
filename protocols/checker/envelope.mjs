// protocols/envelope: who said it.

import { createHash } from "node:crypto";
import { decode, need } from "./codec.mjs";
import { verified } from "./ed25519.mjs";
import { bytesOf, decodeMessage } from "./messages.mjs";
import { fields } from "./types.mjs";

export const sha256 = (...parts) => createHash("sha256").update(Buffer.concat(parts)).digest();

export const signedOf = (tag, id) => Buffer.concat([Buffer.from(`meshgen/${tag}\0`), id]);

const WIRE = fields({ body: "bin 0..2^20", author: "bin 32", signature: "bin 64" });

export function decodeSigned(tag, data) {
  const wire = decode(data, { bytes: bytesOf(tag) + 128 });
  WIRE(wire, "wire");
  const [body, author, signature] = wire;
  const message = decodeMessage(tag, body);
  const id = sha256(author, body);
  need(verified(author, signedOf(tag, id), signature), "signature does not count");
  return { author: author.toString("hex"), id: id.toString("hex"), message };
}
