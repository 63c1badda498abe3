// A picture of one colour, as a PNG without any text.

import { crc32, deflateSync } from "node:zlib";

const SIGNATURE = Buffer.from("89504e470d0a1a0a", "hex");
const RGB8 = Buffer.of(8, 2, 0, 0, 0);

export function png(width, height, colour) {
  const row = Buffer.concat([Buffer.of(0), ...Array(width).fill(Buffer.from(colour))]);
  const header = Buffer.concat([uint32(width), uint32(height), RGB8]);
  const pixels = deflateSync(Buffer.concat(Array(height).fill(row)));
  return Buffer.concat([SIGNATURE, chunk("IHDR", header), chunk("IDAT", pixels), chunk("IEND", Buffer.alloc(0))]);
}

function chunk(type, data) {
  const body = Buffer.concat([Buffer.from(type), data]);
  return Buffer.concat([uint32(data.length), body, uint32(crc32(body))]);
}

function uint32(number) {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(number);
  return bytes;
}
