// A PDF of one page that is one JPEG: five objects, and a table of where they begin.

const PAGE_WIDTH = 595; // points: an A4's

/** @param {Blob} jpeg  @param {number} width @param {number} height in pixels  @param {string} title */
export async function pdfOf(jpeg, width, height, title) {
  const [w, h] = [PAGE_WIDTH, Math.round((PAGE_WIDTH * height) / width)];
  const content = `q ${w} 0 0 ${h} 0 0 cm /Picture Do Q`;
  const picture = `<< /Type /XObject /Subtype /Image /Width ${width} /Height ${height} /ColorSpace /DeviceRGB /BitsPerComponent 8 /Filter /DCTDecode /Length ${jpeg.size} >>`;
  const file = new Writer();
  file.object("<< /Type /Catalog /Pages 2 0 R >>");
  file.object("<< /Type /Pages /Kids [3 0 R] /Count 1 >>");
  file.object(
    `<< /Type /Page /Parent 2 0 R /MediaBox [0 0 ${w} ${h}] /Contents 4 0 R /Resources << /XObject << /Picture 5 0 R >> >> >>`,
  );
  file.object(`<< /Length ${content.length} >>`, content);
  file.object(picture, new Uint8Array(await jpeg.arrayBuffer()));
  file.object(`<< /Title ${utf16(title)} /Creator (meshgen) >>`);
  return file.end();
}

class Writer {
  constructor() {
    this.parts = [];
    this.size = 0;
    this.starts = [];
    this.add("%PDF-1.4\n%\u00e2\u00e3\u00cf\u00d3\n");
  }

  add(part) {
    const bytes = typeof part === "string" ? Uint8Array.from(part, (char) => char.charCodeAt(0)) : part;
    this.parts.push(bytes);
    this.size += bytes.length;
  }

  object(head, stream = null) {
    this.starts.push(this.size);
    this.add(`${this.starts.length} 0 obj\n${head}\n`);
    if (stream !== null) {
      this.add("stream\n");
      this.add(stream);
      this.add("\nendstream\n");
    }
    this.add("endobj\n");
  }

  end() {
    const count = this.starts.length + 1;
    const table = this.starts.map((start) => `${String(start).padStart(10, "0")} 00000 n \n`).join("");
    const at = this.size;
    this.add(
      `xref\n0 ${count}\n0000000000 65535 f \n${table}trailer\n<< /Size ${count} /Root 1 0 R /Info ${count - 1} 0 R >>\nstartxref\n${at}\n%%EOF\n`,
    );
    return new Blob(this.parts, { type: "application/pdf" });
  }
}

/** A text string in hex, with its byte order mark: any script, and no character that would have to be escaped. */
function utf16(text) {
  const units = [0xfeff, ...Array.from({ length: text.length }, (_, at) => text.charCodeAt(at))];
  return `<${units.map((unit) => unit.toString(16).padStart(4, "0")).join("")}>`;
}
