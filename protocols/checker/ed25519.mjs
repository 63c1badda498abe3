// protocols/envelope, rule R1: the one set of signatures that count.

import { createPublicKey, verify } from "node:crypto";

const P = 2n ** 255n - 19n;
const L = 2n ** 252n + 27742317777372353535851937790883648493n;
const D = mod(-121665n * power(121666n, P - 2n));
const ROOT_OF_MINUS_ONE = power(2n, (P - 1n) / 4n);
const IDENTITY = Buffer.from("01".padEnd(64, "0"), "hex");
const SPKI = Buffer.from("302a300506032b6570032100", "hex");

function mod(number) {
  const rest = number % P;
  return rest < 0n ? rest + P : rest;
}

function power(base, exponent) {
  let result = 1n;
  for (let square = mod(base); exponent > 0n; exponent >>= 1n, square = mod(square * square)) {
    if (exponent & 1n) result = mod(result * square);
  }
  return result;
}

const littleEndian = (bytes) => BigInt("0x" + Buffer.from(bytes).reverse().toString("hex"));

// RFC 8032, 5.1.3, and nothing but the canonical encoding. A point is [X, Y, Z, T]; null is none.
function point(bytes) {
  const number = littleEndian(bytes);
  const [y, sign] = [number & (2n ** 255n - 1n), number >> 255n];
  if (y >= P) return null;
  const [u, v] = [mod(y * y - 1n), mod(D * y * y + 1n)];
  let x = mod(u * power(v, 3n) * power(u * power(v, 7n), (P - 5n) / 8n));
  if (mod(v * x * x) === mod(-u)) x = mod(x * ROOT_OF_MINUS_ONE);
  if (mod(v * x * x) !== u || (x === 0n && sign === 1n)) return null;
  if ((x & 1n) !== sign) x = P - x;
  return [x, y, 1n, mod(x * y)];
}

// RFC 8032, 5.1.4; complete, so it doubles too.
function add([x1, y1, z1, t1], [x2, y2, z2, t2]) {
  const [a, b] = [mod((y1 - x1) * (y2 - x2)), mod((y1 + x1) * (y2 + x2))];
  const [c, d] = [mod(2n * D * t1 * t2), mod(2n * z1 * z2)];
  const [e, f, g, h] = [b - a, d - c, d + c, b + a];
  return [mod(e * f), mod(g * h), mod(f * g), mod(e * h)];
}

function times(scalar, base) {
  let result = [0n, 1n, 1n, 0n];
  for (let double = base; scalar > 0n; scalar >>= 1n, double = add(double, double)) {
    if (scalar & 1n) result = add(result, double);
  }
  return result;
}

const isIdentity = ([x, y, z]) => x === 0n && y === z;

function isKey(bytes) {
  if (bytes.length !== 32) return false;
  const place = point(bytes);
  return place !== null && !isIdentity(place) && isIdentity(times(L, place));
}

const keys = new Map();

// The key object of node:crypto, or null if the key may sign nothing. L x A takes a millisecond, so once a key.
function publicKey(bytes) {
  const name = bytes.toString("hex");
  if (!keys.has(name)) {
    const key = isKey(bytes) && createPublicKey({ key: Buffer.concat([SPKI, bytes]), format: "der", type: "spki" });
    keys.set(name, key || null);
  }
  return keys.get(name);
}

export const mayBeKey = (bytes) => publicKey(bytes) !== null;

// OpenSSL's equation is the cofactorless one, compared byte by byte; the rest of R1 stands in front of it.
export function verified(key, message, signature) {
  if (signature.length !== 64 || signature.subarray(0, 32).equals(IDENTITY)) return false;
  if (littleEndian(signature.subarray(32)) >= L) return false;
  const loaded = publicKey(key);
  return loaded !== null && verify(null, message, loaded, signature);
}
