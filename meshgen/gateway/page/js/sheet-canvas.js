// The page as one picture, for saving.
import { bitmapOf } from "./pictures.js";
import { layOut } from "./sheet.js";

const INKS = {
  white: ["#ffffff", "#17211e", "#e6eae8"],
  black: ["#0d1011", "#f0f3f2", "#22282b"],
  cream: ["#f8f1e3", "#2c2418", "#e8dfcc"],
};
const NARROWEST = 1600;
const WIDEST = 4096;
const FONT = 'system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif';

export function inksOf(paper) {
  return INKS[paper] ?? INKS.white;
}

/** A canvas with the board's page, wide enough for what its pictures hold. */
export async function drawSheet(board, ratio) {
  const page = layOut(board.values, board.panels.length, ratio);
  const pictures = await Promise.all(board.panels.map((panel) => (panel.picture ? bitmapOf(panel.picture) : null)));
  const wanted = Math.max(0, ...pictures.map((picture, at) => (picture ? (picture.width * page.width) / page.boxes[at].w : 0)));
  const scale = Math.min(WIDEST, Math.max(NARROWEST, wanted)) / page.width;
  const canvas = document.createElement("canvas");
  canvas.width = Math.round(page.width * scale);
  canvas.height = Math.round(page.height * scale);
  const pen = canvas.getContext("2d");
  pen.scale(scale, scale);
  pen.imageSmoothingQuality = "high";
  const [paper, ink, none] = inksOf(board.values.paper);
  pen.fillStyle = paper;
  pen.fillRect(0, 0, page.width, page.height);
  pen.fillStyle = ink;
  if (page.title) words(pen, board.values.title, { x: 44, y: page.title - 18, w: page.width - 88 }, 34, 1, 700);
  page.boxes.forEach((box, at) => {
    panel(pen, box, pictures[at], none);
    pen.fillStyle = ink;
    if (box.caption) words(pen, board.panels[at].caption, { x: box.x, y: box.y + box.h + 9, w: box.w }, page.size, 2, 450);
  });
  return canvas;
}

/** The picture fills its box; what sticks out is cut off evenly. */
function panel(pen, { x, y, w, h }, picture, none) {
  pen.save();
  pen.beginPath();
  pen.roundRect(x, y, w, h, 8);
  pen.clip();
  pen.fillStyle = none;
  pen.fillRect(x, y, w, h);
  if (picture) {
    const scale = Math.max(w / picture.width, h / picture.height);
    const [across, down] = [picture.width * scale, picture.height * scale];
    pen.drawImage(picture, x + (w - across) / 2, y + (h - down) / 2, across, down);
  }
  pen.restore();
}

/** A text in at most so many lines; what is over ends with an ellipsis. */
function words(pen, text, { x, y, w }, size, most, weight) {
  pen.font = `${weight} ${size}px ${FONT}`;
  pen.textBaseline = "top";
  const lines = [""];
  for (const word of text.split(/\s+/).filter(Boolean)) {
    const longer = `${lines.at(-1)} ${word}`.trim();
    if (pen.measureText(longer).width <= w) lines[lines.length - 1] = longer;
    else if (lines.length < most) lines.push(word);
    else {
      lines[lines.length - 1] += "…";
      break;
    }
  }
  lines.forEach((one, at) => pen.fillText(one, x, y + at * size * 1.3, w));
}
