// protocols/codec: the one form of each value. uint -> number, bin -> Buffer, text -> string, array -> Array.

export class Malformed extends Error {}

export function need(condition, what) {
  if (!condition) throw new Malformed(what);
}

export const LIMITS = { bytes: 4096, items: 64, depth: 4, textBytes: 256, unicode: false };

const ASCII = /^[\x20-\x7e]*$/;
const CONTROL = /[\x00-\x08\x0b-\x1f\x7f]/;
const UTF8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

export const isAscii = (text) => ASCII.test(text);

// Refuse too much, parse, walk, encode again, compare.
export function decode(data, limits = {}) {
  const reader = new Reader(data, { ...LIMITS, ...limits });
  need(data.length <= reader.limits.bytes, "too long");
  const value = reader.value(1);
  need(reader.at === data.length, "bytes left over");
  need(encode(value).equals(data), "not the canonical form");
  return value;
}

class Reader {
  at = 0;

  constructor(data, limits) {
    this.data = data;
    this.limits = limits;
  }

  take(length) {
    need(this.at + length <= this.data.length, "cut short");
    this.at += length;
    return this.data.subarray(this.at - length, this.at);
  }

  uint(width) {
    const number = this.take(width).reduce((sum, byte) => sum * 256n + BigInt(byte), 0n);
    need(number <= BigInt(Number.MAX_SAFE_INTEGER), "number outside 0..2^53-1");
    return Number(number);
  }

  value(depth) {
    const tag = this.uint(1);
    if (tag <= 0x7f) return tag;
    if (tag >= 0xcc && tag <= 0xcf) return this.uint(1 << (tag - 0xcc));
    if (tag >= 0xc4 && tag <= 0xc6) return Buffer.from(this.take(this.uint(1 << (tag - 0xc4))));
    if (tag >= 0xa0 && tag <= 0xbf) return this.text(tag - 0xa0);
    if (tag >= 0xd9 && tag <= 0xdb) return this.text(this.uint(1 << (tag - 0xd9)));
    if (tag >= 0x90 && tag <= 0x9f) return this.array(tag - 0x90, depth);
    if (tag === 0xdc || tag === 0xdd) return this.array(this.uint(tag === 0xdc ? 2 : 4), depth);
    throw new Malformed(`type ${tag.toString(16)} has no place here`);
  }

  text(length) {
    need(length <= this.limits.textBytes, "text too long");
    const bytes = this.take(length);
    let text;
    try {
      text = UTF8.decode(bytes);
    } catch {
      throw new Malformed("text is not UTF-8");
    }
    need(this.limits.unicode ? !CONTROL.test(text) : isAscii(text), "character that has no place in a text");
    return text;
  }

  array(length, depth) {
    need(length <= this.limits.items, "too many items");
    need(depth <= this.limits.depth, "nested too deep");
    return Array.from({ length }, () => this.value(depth + 1));
  }
}

// Only ever given what decode gives, or what a note is put together from.
export function encode(value) {
  if (typeof value === "number") return encodeUint(value);
  if (typeof value === "string") return encodeText(Buffer.from(value));
  if (Buffer.isBuffer(value)) return Buffer.concat([head(value.length, [0xc4, 0xc5, 0xc6]), value]);
  const length = value.length <= 15 ? Buffer.of(0x90 + value.length) : head(value.length, [null, 0xdc, 0xdd]);
  return Buffer.concat([length, ...value.map(encode)]);
}

function encodeUint(number) {
  if (number <= 0x7f) return Buffer.of(number);
  return head(number, [0xcc, 0xcd, 0xce, 0xcf]);
}

function encodeText(bytes) {
  const length = bytes.length <= 31 ? Buffer.of(0xa0 + bytes.length) : head(bytes.length, [0xd9, 0xda, 0xdb]);
  return Buffer.concat([length, bytes]);
}

// A tag and a number, in the first of 1, 2, 4, 8 bytes that holds it and has a tag.
function head(number, tags) {
  const size = tags.findIndex((tag, power) => tag !== null && BigInt(number) < 1n << BigInt(8 << power));
  const digits = BigInt(number).toString(16).padStart(2 << size, "0");
  return Buffer.concat([Buffer.of(tags[size]), Buffer.from(digits, "hex")]);
}
