// How panels lie on a page: boxes in units of which the page is 1000 wide. The page on the screen and the saved one both use it.

const MARGIN = 44;
const GAP = 20;
const TITLE = 64;
export const WIDTH = 1000;

export const LAYOUTS = [
  ["grid", "Two across"],
  ["three", "Three across"],
  ["strip", "A strip"],
  ["column", "A column"],
  ["feature", "One large"],
];

/** How many lie in each row. */
export function rowsOf(name, count) {
  if (name === "strip") return count > 5 ? [Math.ceil(count / 2), Math.floor(count / 2)] : [count];
  if (name === "column") return Array(count).fill(1);
  if (name === "feature") return [1, ...evenly(count - 1, 2)];
  return evenly(count, name === "three" ? 3 : 2);
}

/** Rows of so many; a single one that is left over gets a row of its own, at the end. */
function evenly(count, across) {
  const rows = Array(Math.floor(count / across)).fill(across);
  return count % across ? [...rows, count % across] : rows;
}

/** {width, height, title: y of its middle or 0, size: of captions' letters, boxes: [{x, y, w, h, caption}]};
 *  `ratio` is a panel's width by its height. */
export function layOut({ layout, captions, title }, count, ratio) {
  const rows = rowsOf(layout, count);
  const most = Math.max(...rows);
  const inside = WIDTH - 2 * MARGIN;
  const size = Math.min(26, Math.max(13, ((inside / most) * 54) / 1000));
  const under = captions ? Math.round(2.6 * size) + 18 : 0;
  const boxes = [];
  let y = MARGIN + (title ? TITLE : 0);
  for (const across of rows) {
    const w = (inside - GAP * (across - 1)) / across;
    const shape = layout === "column" || across === most ? ratio : Math.max(ratio, (ratio * most) / across);
    const h = w / shape;
    for (let at = 0; at < across; at += 1) boxes.push({ x: MARGIN + at * (w + GAP), y, w, h, caption: under });
    y += h + under + GAP;
  }
  return { width: WIDTH, height: y - GAP + MARGIN, title: title ? MARGIN + TITLE / 2 - 8 : 0, size, boxes };
}
