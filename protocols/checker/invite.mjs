// protocols/invite: the line, and the multiaddrs in it.

import { createHash } from "node:crypto";
import { need } from "./codec.mjs";
import { decodeMessage, encodeMessage } from "./messages.mjs";

const HEAD = "MESHGEN:1";
const ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
const CHECK_BYTES = 4;
const PEER_HEAD = Buffer.from("002408011220", "hex");
const SIZES = { 4: 4, 6: 2, 41: 16, 290: 0 }; // of values that don't say their length
const HOST = /^[a-z0-9]([a-z0-9.-]{0,62}[a-z0-9])?$/;

export function decodeInvite(kind, data) {
  const body = kind === "line" ? bodyOf(data.toString("latin1")) : data;
  const tag = kind === "line" ? "invite/1" : `${kind}/1`;
  const message = decodeMessage(tag, body);
  need(encodeMessage(tag, message).equals(body), "it writes other bytes than it read");
  (message.peers ?? [message]).forEach((peer) => peer.addresses.forEach((address) => checkWay(Buffer.from(address, "hex"))));
  return message;
}

function bodyOf(line) {
  need(line.startsWith(HEAD), "no invite line of version 1");
  const data = unbase32(line.slice(HEAD.length));
  const [body, sum] = [data.subarray(0, -CHECK_BYTES), data.subarray(-CHECK_BYTES)];
  const expected = createHash("sha256").update("meshgen/invite/v1\0").update(body).digest().subarray(0, CHECK_BYTES);
  need(data.length > CHECK_BYTES && sum.equals(expected), "checksum");
  return body;
}

function unbase32(digits) {
  const values = [...digits].map((digit) => ALPHABET.indexOf(digit));
  need(!values.includes(-1), "a character that is no digit");
  const bits = values.map((value) => value.toString(2).padStart(5, "0")).join("");
  const size = Math.floor(bits.length / 8);
  need(Math.ceil((size * 8) / 5) === digits.length && !bits.slice(size * 8).includes("1"), "not filled up with zeros");
  return Buffer.from(Array.from({ length: size }, (_, place) => parseInt(bits.slice(place * 8, place * 8 + 8), 2)));
}

// Host, port, maybe a relay and p2p-circuit; each in its one form.
function checkWay(data) {
  const parts = [...components(data)];
  const codes = parts.map(([code]) => code).join(" ");
  need(/^(4|41|53|54|55) 6( 421 290)?$/.test(codes), `no way to a peer: ${codes}`);
  need(parts[1][1].readUInt16BE() > 0, "port 0");
}

function* components(data) {
  for (let place = 0; place < data.length; ) {
    const [code, after] = varint(data, place);
    const [size, start] = code in SIZES ? [SIZES[code], after] : [data[after] ?? 0, after + 1];
    const value = data.subarray(start, start + size);
    need(value.length === size, "cut short");
    if (code === 421) need(size === 38 && value.subarray(0, 6).equals(PEER_HEAD), "not an Ed25519 peer id");
    if (code >= 53 && code <= 55) need(HOST.test(value.toString("latin1")), "not a host's name");
    yield [code, value];
    place = start + size;
  }
}

function varint(data, place) {
  const [first, second = 0] = data.subarray(place, place + 2);
  if (first < 128) return [first, place + 1];
  need(second > 0 && second < 128, "a varint that is too long");
  return [(first & 127) | (second << 7), place + 2];
}
