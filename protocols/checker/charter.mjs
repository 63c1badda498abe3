// protocols/charter: what a mesh agrees on, version by version.

import { decode, need } from "./codec.mjs";
import { verified } from "./ed25519.mjs";
import { sha256 } from "./envelope.mjs";
import { decodeMessage } from "./messages.mjs";

const HASH = Buffer.from("meshgen/charter/v1\0");
const SIGNED = Buffer.from("meshgen/charter-sig/v1\0");
const bytes = (hex) => Buffer.from(hex, "hex");

export function decodeCharter(kind, data) {
  return kind === "charter-lineage" ? lineage(data) : decodeMessage(`${kind}/1`, data);
}

function lineage(data) {
  const wires = decode(data, { bytes: 64 * 1024 });
  need(Array.isArray(wires) && wires.length > 0 && wires.every(Buffer.isBuffer), "no version 0");
  const versions = wires.map(version);
  versions.forEach((each, place) => follow(each, versions[place - 1]));
  return { net: versions[0].hash.subarray(0, 16).toString("hex"), current: versions.at(-1).charter };
}

function version(wire) {
  const { body, signatures } = decodeMessage("charter-signed/1", wire);
  return { charter: decodeMessage("charter/1", bytes(body)), hash: sha256(HASH, bytes(body)), signatures };
}

// Does it found a mesh, or follow the version before?
function follow({ charter, hash, signatures }, before) {
  need(charter.version === (before ? before.charter.version + 1 : 0), "version");
  need(charter.parent === (before ? before.hash.toString("hex") : ""), "parent");
  need(charter.delegates.length > 0, "no delegates");
  need(!before || charter.name === before.charter.name, "another name");
  const rules = before ? before.charter : charter;
  for (const { key, signature } of signatures) {
    need(rules.delegates.includes(key), "signed by somebody who is no delegate");
    need(verified(bytes(key), Buffer.concat([SIGNED, hash]), bytes(signature)), "a signature does not count");
  }
  need(signatures.length >= rules.threshold, "too few have signed");
}
