// Mesh: who is there, with which GPUs and models, and how this node is linked to them.
import { get } from "./api.js";
import { h, show } from "./dom.js";
import { count, memory, nameOf } from "./format.js";
import { art, icon } from "./icons.js";
import { meshMap } from "./mesh-map.js";
import { FAMILIES } from "./models.js";
import { toastError } from "./toast.js";

const LOOK_MS = 5000;
const SHOWN_MODELS = 4;

class Mesh {
  constructor(box) {
    this.facts = h("ul", { class: "figures" });
    this.map = h("div", { class: "card flush map" });
    this.models = h("section", { class: "card", "aria-label": "Models" });
    this.peers = h("section", { "aria-label": "Peers" });
    this.said = "";
    show(
      box,
      h("header", { class: "head" }, h("div", {}, h("h1", { tabindex: "-1" }, "Mesh"), (this.words = h("p", {})))),
      this.facts,
      h("div", { class: "two-thirds" }, this.map, this.models),
      this.peers,
    );
    this.look();
  }

  close() {
    this.over = true;
    clearTimeout(this.timer);
  }

  async look() {
    try {
      const [status, { peers }, models, worker] = await Promise.all([
        get("/v1/status"),
        get("/v1/peers"),
        get("/v1/models"),
        get("/v1/worker").catch(() => null),
      ]);
      const said = JSON.stringify([status.connected, peers, models.mesh, worker?.wanted]);
      if (said !== this.said && !this.over) this.showAll(status, peers, models.mesh, worker);
      this.said = said;
    } catch (error) {
      if (!this.said) toastError(error);
    }
    if (!this.over) this.timer = setTimeout(() => this.look(), LOOK_MS);
  }

  showAll(status, peers, models, worker) {
    const self = selfAsPeer(status);
    const all = [self, ...peers];
    const workers = all.filter((peer) => peer.models.length);
    const vram = workers.reduce((sum, peer) => sum + (peer.vram_total_mib ?? 0), 0);
    this.words.textContent = `${status.mesh.charter} · you are ${nameOf(status.alias, status.peer_id)}`;
    const queued = peers.reduce((sum, peer) => sum + (peer.queued ?? 0), 0);
    show(
      this.facts,
      [
        [count(peers.length, "peer"), `in sight, ${status.connected} connected`],
        [count(workers.length, "worker"), "take work or could"],
        [vram ? memory(vram) : "none known", "of memory to draw with"],
        [count(queued, "picture"), "waiting"],
      ].map(([number, what]) => h("li", { class: "figure" }, h("strong", { class: "num" }, number), h("span", {}, what))),
    );
    show(
      this.map,
      meshMap(
        self,
        [...peers].sort((a, b) => a.peer_id.localeCompare(b.peer_id)),
      ),
    );
    show(this.models, h("h2", {}, "Models and who wants them"), demand(models, worker?.wanted ?? []));
    show(this.peers, peers.length ? h("ul", { class: "peers" }, [...peers].sort(byUse).map(peerCard)) : nobody(status));
  }
}

function selfAsPeer(status) {
  const { worker } = status;
  return {
    peer_id: status.peer_id,
    alias: status.alias,
    roles: status.roles,
    models: worker?.models ?? [],
    vram_total_mib: worker?.vram_total_mib ?? 0,
    vram_free_mib: worker?.vram_free_mib ?? 0,
    connected: true,
    own: true,
  };
}

const byUse = (a, b) =>
  b.models.length - a.models.length ||
  (b.vram_total_mib ?? 0) - (a.vram_total_mib ?? 0) ||
  nameOf(a.alias, a.peer_id).localeCompare(nameOf(b.alias, b.peer_id));

function nobody(status) {
  return h(
    "div",
    { class: "empty" },
    art(),
    h("h2", {}, "Nobody else is in sight"),
    h(
      "p",
      {},
      "Others join through this node's address, or this one through theirs (",
      h("code", {}, "mesh.bootstrap"),
      " in its settings).",
    ),
    status.addresses[0] && h("code", {}, status.addresses[0]),
  );
}

function demand(models, wanted) {
  if (!models.length) return h("p", { class: "wait" }, "No worker offers a model yet.");
  const asked = new Map(wanted.map((one) => [one.model, one.requesters]));
  const most = Math.max(1, ...models.map((model) => model.queued));
  const row = (model) =>
    h(
      "tr",
      {},
      h(
        "th",
        { scope: "row", class: "cut" },
        h("span", { title: model.name }, model.name),
        h("span", { class: "small faint" }, ` ${FAMILIES[model.family] ?? model.family}`),
      ),
      h("td", { class: "end num" }, model.workers),
      h("td", { class: "end num" }, asked.get(model.name) ?? ""),
      h(
        "td",
        {},
        h(
          "div",
          { class: "row" },
          h("meter", { class: "load", min: 0, max: most, value: model.queued, "aria-label": `waiting for ${model.name}` }),
          h("span", { class: "num small" }, model.queued),
        ),
      ),
    );
  return h(
    "div",
    { class: "scroll", tabindex: 0, role: "region", "aria-label": "Models, to be scrolled" },
    h(
      "table",
      { class: "table demand" },
      h(
        "thead",
        {},
        h(
          "tr",
          {},
          ["Model", "Workers", "Asked by", "Waiting"].map((word, at) =>
            h("th", { scope: "col", class: at === 1 || at === 2 ? "end" : "" }, word),
          ),
        ),
      ),
      h("tbody", {}, models.map(row)),
    ),
  );
}

function peerCard(peer) {
  const { vram_total_mib: total = 0, vram_free_mib: free = 0 } = peer;
  const used = total ? (total - free) / total : 0;
  return h(
    "li",
    { class: "card peer" },
    h(
      "div",
      { class: "row" },
      h("span", { class: `dot ${peer.connected ? "on" : ""}`, title: peer.connected ? "linked" : "known, not linked" }),
      h("h3", { class: "grow cut", title: peer.peer_id }, nameOf(peer.alias, peer.peer_id)),
      h("span", { class: "small faint nowrap" }, peer.roles.join(", ") || "newly met"),
    ),
    peer.device && h("p", { class: "small quiet" }, device(peer)),
    total > 0 &&
      h(
        "div",
        { class: "stack tight" },
        h("meter", { class: "load", min: 0, max: 1, value: used, "aria-label": "GPU memory in use" }),
        h("p", { class: "small faint num" }, `${memory(free)} free of ${memory(total)}`),
      ),
    peer.models.length > 0 &&
      h(
        "div",
        { class: "tags" },
        peer.models.slice(0, SHOWN_MODELS).map((name) => h("span", { class: "tag" }, h("span", { class: "cut" }, name))),
        peer.models.length > SHOWN_MODELS &&
          h(
            "span",
            { class: "tag", title: peer.models.slice(SHOWN_MODELS).join(", ") },
            `and ${peer.models.length - SHOWN_MODELS} more`,
          ),
      ),
    load(peer),
    peer.policies?.length > 0 && h("p", { class: "small faint" }, peer.policies.join(" · ")),
    h("p", { class: "small faint mono cut", title: peer.peer_id }, `…${peer.peer_id.slice(-16)}`),
  );
}

function device(peer) {
  const kinds = { cuda: "GPU", mps: "Apple silicon", cpu: "CPU", fake: "draws test pictures" };
  return [peer.device_name, kinds[peer.device] ?? peer.device].filter(Boolean).join(" · ");
}

function load(peer) {
  if (!peer.models.length) return null;
  if (peer.policies?.includes("paused")) return h("p", { class: "small warm row" }, icon("pause"), "paused");
  return h(
    "p",
    { class: `small ${peer.queued ? "warm" : "good"}` },
    peer.queued ? `${count(peer.queued, "picture")} waiting` : "free now",
  );
}

function open(box) {
  const mesh = new Mesh(box);
  return () => mesh.close();
}

export default { title: "Mesh", open };
