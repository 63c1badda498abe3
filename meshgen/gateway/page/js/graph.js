// A balance over time, as steps: each deal moves it.
import { get, query } from "./api.js";
import { h, s } from "./dom.js";
import { kudos, when } from "./format.js";

const WIDTH = 1000;
const HEIGHT = 190;
const PAD = 8;
const MOST = 1000;

export class BalanceGraph {
  /** `points` are [ms, mkudos], by time. */
  constructor(points) {
    this.points = points;
  }

  /** Back from the balance as it is now: what is older than the deals that are read keeps the graph's start off zero. */
  static async load(now) {
    const read = (part) => get(query("/v1/credit/deals", { open: part, limit: MOST }));
    const [earned, spent] = await Promise.all([read("earned"), read("spent")]);
    const moves = [
      ...earned.items.map((deal) => [deal.ts_ms, deal.mkudos]),
      ...spent.items.map((deal) => [deal.ts_ms, -deal.mkudos]),
    ];
    const known = moves.filter(([ms]) => ms).sort((a, b) => a[0] - b[0]);
    let value = now - known.reduce((sum, [, mkudos]) => sum + mkudos, 0);
    const points = known.length ? [[known[0][0] - 1, value]] : [];
    for (const [ms, mkudos] of known) points.push([ms, (value += mkudos)]);
    if (points.length) points.push([Date.now(), value]);
    return new BalanceGraph(points);
  }

  element() {
    const { points } = this;
    if (points.length < 2) return h("p", { class: "quiet" }, "The first deal begins it.");
    const [from, to] = [points[0][0], points.at(-1)[0]];
    const values = points.map(([, value]) => value);
    const [low, high] = [Math.min(0, ...values), Math.max(0, ...values)];
    const x = (ms) => ((ms - from) / (to - from || 1)) * WIDTH;
    const y = (value) => PAD + (1 - (value - low) / (high - low || 1)) * (HEIGHT - 2 * PAD);
    const path = points
      .map(([ms, value], at) => (at ? `H${x(ms).toFixed(1)}V${y(value).toFixed(1)}` : `M0 ${y(value).toFixed(1)}`))
      .join("");
    const words = `From ${kudos(values[0])} to ${kudos(values.at(-1))} kudos; the least ${kudos(low)}, the most ${kudos(high)}.`;
    return h(
      "figure",
      { class: "stack tight" },
      s(
        "svg",
        { class: "graph", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img", "aria-label": words },
        s("path", { class: "under", d: `${path}V${y(0)}H0Z` }),
        s("line", { class: "zero", x1: 0, x2: WIDTH, y1: y(0), y2: y(0) }),
        s("path", { class: "line", d: path }),
      ),
      h(
        "figcaption",
        { class: "row small faint num" },
        h("span", {}, when(from)),
        h("span", { class: "push" }, `least ${kudos(low)} · most ${kudos(high)}`),
        h("span", { class: "push" }, "now"),
      ),
    );
  }
}
