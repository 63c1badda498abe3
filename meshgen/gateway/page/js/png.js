// Words in PNG files, left out. The pixels are not touched.

const SIGNATURE = [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a];
const SHOWN = new Set(["IHDR", "PLTE", "tRNS", "gAMA", "cHRM", "sRGB", "IDAT", "IEND"]);

/** The file with nothing in it but what its pixels need. What is no PNG comes back as it is. */
export async function bare(blob) {
  const bytes = new Uint8Array(await blob.arrayBuffer());
  if (!isPng(bytes)) return blob;
  const parts = [bytes.subarray(0, SIGNATURE.length)];
  for (const { kind, from, to } of chunks(bytes)) if (SHOWN.has(kind)) parts.push(bytes.subarray(from, to));
  return new Blob(parts, { type: "image/png" });
}

const latin = (bytes) => new TextDecoder("latin1").decode(bytes);

const isPng = (bytes) => SIGNATURE.every((value, at) => bytes[at] === value);

function* chunks(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let from = SIGNATURE.length;
  while (from + 12 <= bytes.length) {
    const to = from + 12 + view.getUint32(from);
    if (to > bytes.length) return;
    const kind = latin(bytes.subarray(from + 4, from + 8));
    yield { kind, from, to };
    if (kind === "IEND") return;
    from = to;
  }
}
