// Credit: a balance that opens into deals, and those into the signed entries that they are made of.
import { get, query } from "./api.js";
import { BalanceGraph } from "./graph.js";
import { dealList } from "./deals.js";
import { entryCard, findEntry } from "./entries.js";
import { h, show } from "./dom.js";
import { count, exactKudos, kudos } from "./format.js";
import { icon } from "./icons.js";
import { peerNames } from "./names.js";
import { say, toastError } from "./toast.js";

const PARTS = { earned: "earned", spent: "spent", held: "set aside", contested: "contested" };
const LOOK_MS = 10_000;
const LOG_PAGE = 10;
const MOST_LOGGED = 1000;

class Credit {
  constructor(box, [what, id, ms]) {
    this.amount = h("p", { class: "amount num" });
    this.words = h("p", { class: "quiet" });
    this.verified = h("div", { role: "status" });
    this.figures = h("div", { class: "figures", role: "group", "aria-label": "Figures of the balance" });
    this.graph = h("section", { class: "card", "aria-label": "Balance over time" });
    this.deals = h("section", { class: "card", "aria-label": "Deals" });
    this.found = h("div");
    this.log = h("section", { class: "card", "aria-label": "The log" });
    this.part = "";
    this.logged = LOG_PAGE;
    const verify = h(
      "button",
      { class: "button", type: "button", onclick: () => this.verify(verify) },
      icon("shield"),
      "Verify now",
    );
    show(
      box,
      h(
        "header",
        { class: "head" },
        h("div", {}, h("h1", { tabindex: "-1" }, "Credit"), h("p", {}, "Who did what for whom, signed by both.")),
      ),
      this.found,
      h(
        "section",
        { class: "card hero", "aria-label": "Balance" },
        h("div", { class: "stack tight" }, this.amount, this.words),
        verify,
        this.verified,
      ),
      this.figures,
      this.deals,
      this.graph,
      this.log,
    );
    this.deals.hidden = true;
    if (what === "receipt" && id) this.showEntry(id, Number(ms) || 0);
    this.look();
  }

  close() {
    this.over = true;
    clearTimeout(this.timer);
  }

  async look() {
    try {
      const balance = await get("/v1/credit/balance");
      const said = JSON.stringify(balance);
      if (said !== this.said && !this.over) await this.showAll(balance);
      this.said = said;
    } catch (error) {
      if (!this.said) toastError(error);
    }
    if (!this.over) this.timer = setTimeout(() => this.look(), LOOK_MS);
  }

  async showAll(balance) {
    const own = balance.balance_mkudos;
    this.amount.textContent = `${kudos(own)} kudos`;
    this.amount.title = exactKudos(own);
    const account =
      balance.devices > 1 ? ` · ${kudos(balance.account_mkudos)} kudos in your account of ${balance.devices} devices` : "";
    this.words.textContent = `${own < 0 ? "The mesh did more for you than you for it." : own > 0 ? "You did more for the mesh than it for you." : "Nobody owes anybody anything."} ${count(balance.entries, "signed entry", "signed entries")}.${account}`;
    show(
      this.figures,
      Object.entries(PARTS).map(([part, word]) => this.figure(part, word, balance[`${part}_mkudos`])),
    );
    await Promise.all([this.showGraph(own), this.showLog(), this.part && this.open(this.part)]);
  }

  figure(part, word, mkudos) {
    const press = () => this.open(this.part === part ? "" : part).catch(toastError);
    return h(
      "button",
      {
        class: "figure",
        type: "button",
        "aria-pressed": String(this.part === part),
        title: `Open into its deals (${exactKudos(mkudos)} kudos)`,
        data: { part },
        onclick: press,
      },
      h("strong", { class: "num" }, kudos(mkudos)),
      h("span", {}, word),
    );
  }

  async open(part) {
    this.part = part;
    for (const button of this.figures.children) button.setAttribute("aria-pressed", String(button.dataset.part === part));
    this.deals.hidden = !part;
    if (!part) return;
    show(this.deals, h("h2", {}, `What was ${PARTS[part]}`), await dealList(part));
    say(`The deals of what was ${PARTS[part]} are shown`);
  }

  async showGraph(now) {
    const graph = await BalanceGraph.load(now);
    show(this.graph, h("h2", {}, "Over time"), graph.element());
  }

  async showLog() {
    const [{ entries, head }, names] = await Promise.all([
      get(query("/v1/credit/log", { newest: "true", limit: this.logged })),
      peerNames(),
    ]);
    const rest = head - entries.length;
    const more = () => ((this.logged = Math.min(MOST_LOGGED, this.logged + LOG_PAGE)), this.showLog().catch(toastError));
    show(
      this.log,
      h("h2", {}, "This node's log"),
      h(
        "div",
        { class: "deals" },
        [...entries].reverse().map((entry) => logRow(entry, names)),
      ),
      rest > 0 &&
        this.logged < MOST_LOGGED &&
        h("button", { class: "button small", type: "button", onclick: more }, `Show more of ${head}`),
    );
  }

  async showEntry(id, ms) {
    show(this.found, h("p", { class: "wait" }, "Looking for the receipt …"));
    try {
      const entry = await findEntry(id, [""], ms);
      const close = h("a", { class: "button small", href: "#/credit", onclick: () => show(this.found) }, "Done");
      show(
        this.found,
        h(
          "section",
          { class: "card stack", "aria-label": "Receipt" },
          h("div", { class: "row" }, h("h2", { class: "grow" }, "Receipt"), close),
          entry ? entryCard(entry, true) : h("p", { class: "quiet" }, "That entry is not in this node's log."),
        ),
      );
    } catch (error) {
      show(this.found, h("p", { class: "error" }, error.message));
    }
  }

  async verify(button) {
    button.disabled = true;
    show(this.verified, h("p", { class: "quiet" }, "Checking every signature and sum …"));
    try {
      const report = await get("/v1/credit/verify");
      const words = `${count(report.entries, "entry", "entries")} of ${count(report.authors, "author")} checked`;
      show(
        this.verified,
        h(
          "p",
          { class: report.ok ? "good row" : "bad row" },
          icon(report.ok ? "shield" : "close"),
          report.ok ? `All is well: ${words}.` : `Something is wrong: ${words}.`,
        ),
        report.faults.map((fault) => h("p", { class: "small bad" }, fault)),
      );
    } catch (error) {
      show(this.verified, h("p", { class: "error" }, error.message));
    } finally {
      button.disabled = false;
    }
  }
}

function logRow(entry, names) {
  const words = [entry.words, entry.with && names(entry.with)].filter(Boolean).join(" ");
  return h(
    "details",
    { class: "deal" },
    h(
      "summary",
      {},
      h("span", { class: "cut" }, h("span", { class: "faint num" }, `${entry.seq} · `), words),
      h("span", { class: "num nowrap" }, entry.mkudos === undefined ? "" : kudos(entry.mkudos)),
    ),
    h("div", { class: "inside" }, entryCard(entry)),
  );
}

function open(box, rest) {
  const credit = new Credit(box, rest);
  return () => credit.close();
}

export default { title: "Credit", open };
