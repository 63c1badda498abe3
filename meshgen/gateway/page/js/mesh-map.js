// A map of links: this node in the middle, those it is linked to around it, those it only knows of further out.
import { s } from "./dom.js";
import { count, memory, nameOf } from "./format.js";

const WIDTH = 640;
const HEIGHT = 400;
const NAMED = 16;
const CROWD = 10;
const PLACES = { linked: [190, 118], known: [286, 176] };

export function meshMap(self, peers) {
  const linked = peers.filter((peer) => peer.connected);
  const known = peers.filter((peer) => !peer.connected);
  const dots = [...around(linked, PLACES.linked, 0), ...around(known, PLACES.known, 0.5)];
  const words = `This node is linked to ${count(linked.length, "peer")}; it knows of ${known.length} more.`;
  return s(
    "svg",
    { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": words },
    [PLACES.linked, known.length && PLACES.known]
      .filter(Boolean)
      .map(([rx, ry]) => s("ellipse", { class: "orbit", cx: WIDTH / 2, cy: HEIGHT / 2, rx, ry })),
    dots.map((dot) =>
      s("line", { class: dot.peer.connected ? "link" : "link loose", x1: WIDTH / 2, y1: HEIGHT / 2, x2: dot.x, y2: dot.y }),
    ),
    dots.map((dot) => node(dot, dots.length <= NAMED, dots.length > CROWD ? 0.72 : 1)),
    node({ peer: self, x: WIDTH / 2, y: HEIGHT / 2 }, true),
  );
}

/** On an ellipse; many take turns to stand further in, so that none covers another. */
function around(peers, [rx, ry], offset) {
  return peers.map((peer, at) => {
    const turn = ((at + offset) / peers.length) * 2 * Math.PI - Math.PI / 2;
    const far = peers.length > CROWD && at % 2 ? 0.7 : 1;
    return { peer, x: WIDTH / 2 + far * rx * Math.cos(turn), y: HEIGHT / 2 + far * ry * Math.sin(turn) };
  });
}

function node({ peer, x, y }, named, scale = 1) {
  const name = nameOf(peer.alias, peer.peer_id);
  const kind = peer.own ? "own" : peer.models.length ? "worker" : peer.roles.includes("hub") ? "hub" : "other";
  const size = peer.own ? 17 : scale * radius(peer);
  const said = [
    name,
    peer.roles.join(", "),
    peer.vram_total_mib ? memory(peer.vram_total_mib) : "",
    peer.queued ? `${peer.queued} waiting` : "",
  ]
    .filter(Boolean)
    .join(" · ");
  return s(
    "g",
    { class: `node ${kind}`, transform: `translate(${x} ${y})` },
    s("title", {}, said),
    peer.queued > 0 && s("circle", { class: "busy", r: size + 5 }),
    s("circle", { r: size }),
    named && s("text", { y: size + 17 }, name.length > 18 ? `${name.slice(0, 17)}…` : name),
  );
}

/** By its GPU memory: an area, as the eye compares areas. */
function radius(peer) {
  return 8 + Math.min(12, Math.sqrt((peer.vram_total_mib ?? 0) / 1024) * 2.2);
}
