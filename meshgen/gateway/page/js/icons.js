// Line icons on a grid of 24, drawn for this page.
import { s } from "./dom.js";

const PATHS = {
  create: "M4 20l1-4L16 5l3 3L8 19zM14 7l3 3M18 14v4M16 16h4",
  gallery: "M4 5h16v14H4zM4 16l5-5 4 4 3-3 4 4M9 9h.01",
  story: "M4 4h7v7H4zM14 4h6v7h-6zM4 14h9v6H4zM16 14h4v6h-4z",
  mesh: "M6 18V7l6 7 6-7v11M6 18l6-4 6 4M6 7h12",
  worker: "M6 6h12v12H6zM10 10h4v4h-4zM9 3v3M15 3v3M9 18v3M15 18v3M3 9h3M3 15h3M18 9h3M18 15h3",
  credit:
    "M12 3a9 9 0 100 18 9 9 0 000-18zM12 7v10M15 9.2C14.3 8.4 13.3 8 12 8c-1.7 0-3 .8-3 2s1.3 1.7 3 2 3 .8 3 2-1.3 2-3 2c-1.3 0-2.3-.4-3-1.2",
  close: "M6 6l12 12M18 6L6 18",
  plus: "M12 5v14M5 12h14",
  minus: "M5 12h14",
  check: "M5 12.5l4.5 4.5L19 7.5",
  left: "M15 5l-7 7 7 7",
  right: "M9 5l7 7-7 7",
  dice: "M5 5h14v14H5zM9 9h.01M15 9h.01M12 12h.01M9 15h.01M15 15h.01",
  locked: "M6 11h12v9H6zM8.5 11V8a3.5 3.5 0 017 0v3",
  open: "M6 11h12v9H6zM8.5 11V8a3.5 3.5 0 016.8-1",
  image: "M4 5h16v14H4zM4 16l5-5 4 4 3-3 4 4M9 9h.01",
  brush: "M14 4l6 6-8.5 8.5a3.5 3.5 0 01-2.5 1H4v-5a3.5 3.5 0 011-2.5zM12 6l6 6",
  eraser: "M9 20h11M5.5 15.5l9-9 5 5-8.5 8.5H8.5zM10 11l5 5",
  undo: "M8 5L4 9l4 4M4 9h10a6 6 0 010 12h-3",
  redo: "M16 5l4 4-4 4M20 9H10a6 6 0 000 12h3",
  invert: "M12 3a9 9 0 100 18zM12 3a9 9 0 010 18",
  bin: "M5 7h14M10 7V4h4v3M7 7l1 13h8l1-13M10.5 11v5M13.5 11v5",
  save: "M12 4v11M7.5 10.5L12 15l4.5-4.5M5 20h14",
  reuse: "M5 9a7 7 0 0112-3l2 2M19 4v4h-4M19 15a7 7 0 01-12 3l-2-2M5 20v-4h4",
  variations: "M8 8h11v11H8zM5 16V5h11",
  compare: "M12 3v18M4 6h5v12H4zM15 6h5v12h-5z",
  info: "M12 3a9 9 0 100 18 9 9 0 000-18zM12 11v5M12 8h.01",
  heart: "M12 20s-7.5-4.6-7.5-10A4.3 4.3 0 0112 7a4.3 4.3 0 017.5 3c0 5.4-7.5 10-7.5 10z",
  search: "M10.5 4a6.5 6.5 0 100 13 6.5 6.5 0 000-13zM15.5 15.5L20 20",
  pause: "M8 5v14M16 5v14",
  play: "M7 4.5l12 7.5-12 7.5z",
  stop: "M6 6h12v12H6z",
  sun: "M12 8a4 4 0 100 8 4 4 0 000-8zM12 2v3M12 19v3M2 12h3M19 12h3M5 5l2 2M17 17l2 2M19 5l-2 2M7 17l-2 2",
  moon: "M20 14.5A8.5 8.5 0 019.5 4 8.5 8.5 0 1020 14.5z",
  auto: "M12 3a9 9 0 100 18 9 9 0 000-18zM12 3v18M12 7.5l6.5-2.5M12 13l9-3M12 18.5l8-3.5",
  keys: "M3 7h18v11H3zM7 11h.01M11 11h.01M15 11h.01M8 14.5h8",
  shield: "M12 3l7.5 3v5.5c0 4.5-3 8-7.5 9.5-4.5-1.5-7.5-5-7.5-9.5V6zM8.5 12l2.5 2.5 4.5-5",
  more: "M6 12h.01M12 12h.01M18 12h.01",
  wide: "M4 9V4h5M20 15v5h-5M4 4l6 6M20 20l-6-6",
};

export function icon(name) {
  return s(
    "svg",
    {
      class: "ico",
      viewBox: "0 0 24 24",
      fill: "none",
      stroke: "currentColor",
      "stroke-width": 1.7,
      "stroke-linecap": "round",
      "stroke-linejoin": "round",
      "aria-hidden": "true",
      focusable: "false",
    },
    s("path", { d: PATHS[name] }),
  );
}

/** A small mesh, for where there is nothing yet. */
export function art() {
  const nodes = [
    [20, 72],
    [52, 26],
    [66, 62],
    [100, 18],
    [116, 70],
  ];
  const lines = [
    [0, 1],
    [0, 2],
    [1, 2],
    [1, 3],
    [2, 3],
    [2, 4],
    [3, 4],
  ];
  return s(
    "svg",
    { viewBox: "0 0 132 92", class: "art", fill: "none", stroke: "currentColor", "stroke-width": 1.5, "aria-hidden": "true" },
    lines.map(([a, b]) => s("path", { d: `M${nodes[a].join(" ")}L${nodes[b].join(" ")}`, "stroke-opacity": 0.4 })),
    nodes.map(([x, y], index) =>
      s("circle", { cx: x, cy: y, r: index === 2 ? 11 : 7, fill: "currentColor", "fill-opacity": index === 2 ? 0.9 : 0.2 }),
    ),
  );
}
