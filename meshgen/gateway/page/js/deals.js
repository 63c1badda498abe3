// The deals behind a figure of a balance; each opens into its entries.
import { get, query } from "./api.js";
import { entryCard, findEntry } from "./entries.js";
import { h, show } from "./dom.js";
import { kudos, when } from "./format.js";
import { peerNames } from "./names.js";

const PAGE = 50;

export async function dealList(part) {
  const list = h("div", { class: "deals" });
  const more = h("div");
  const names = await peerNames();
  const page = async (offset) => {
    const found = await get(query("/v1/credit/deals", { open: part, offset, limit: PAGE }));
    list.append(...found.items.map((deal) => dealRow(deal, names)));
    const next = offset + found.items.length;
    show(
      more,
      next < found.count &&
        h("button", { class: "button small", type: "button", onclick: () => page(next) }, `Show more of ${found.count}`),
    );
    if (!found.count) show(list, h("p", { class: "quiet" }, "None."));
  };
  await page(0);
  return h("div", { class: "stack" }, list, more);
}

function dealRow(deal, names) {
  const inside = h("div", { class: "inside" });
  const way =
    deal.kind === "hold" ? (deal.side === "payer" ? "drawn by" : "drawn for") : deal.side === "payer" ? "given to" : "given by";
  const box = h(
    "details",
    { class: "deal" },
    h(
      "summary",
      {},
      h(
        "span",
        { class: "cut" },
        `${way} ${names(deal.with)}`,
        h("span", { class: "small faint" }, ` · ${when(deal.ts_ms)} · ${deal.state}`),
      ),
      h("strong", { class: "num nowrap" }, `${deal.side === "payer" ? "−" : "+"}${kudos(deal.mkudos)}`),
    ),
    inside,
  );
  box.addEventListener("toggle", () => box.open && !inside.hasChildNodes() && fill(inside, deal), { once: true });
  return box;
}

async function fill(inside, deal) {
  show(inside, h("p", { class: "wait" }, "Looking for the entries …"));
  const found = await Promise.all(deal.entries.map((id) => findEntry(id, ["", deal.with], deal.ts_ms ?? 0).catch(() => null)));
  const missing = deal.entries.filter((_, at) => !found[at]);
  show(
    inside,
    found.filter(Boolean).map((entry) => entryCard(entry)),
    missing.map((id) => h("p", { class: "small faint" }, "Not kept here any more: ", h("span", { class: "mono" }, id))),
  );
}
