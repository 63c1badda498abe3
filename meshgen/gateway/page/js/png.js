// Words in PNG files: read them, or leave them out. The pixels are not touched.

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

/** Texts by keyword, of tEXt and uncompressed iTXt chunks. */
export async function textsOf(blob) {
  const bytes = new Uint8Array(await blob.arrayBuffer());
  const found = {};
  if (!isPng(bytes)) return found;
  for (const { kind, from, to } of chunks(bytes)) {
    const body = bytes.subarray(from + 8, to - 4);
    const end = body.indexOf(0);
    if (kind === "tEXt") found[latin(body.subarray(0, end))] = latin(body.subarray(end + 1));
    if (kind === "iTXt" && body[end + 1] === 0) found[latin(body.subarray(0, end))] = international(body.subarray(end + 3));
  }
  return found;
}

function international(rest) {
  const text = rest.indexOf(0, rest.indexOf(0) + 1) + 1; // behind the language and the translated keyword
  return new TextDecoder().decode(rest.subarray(text));
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
