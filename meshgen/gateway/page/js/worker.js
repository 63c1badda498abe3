// Worker: does this node work for others, by which rules, and what came of it.
import { get, post } from "./api.js";
import { h, show } from "./dom.js";
import { choices, field } from "./fields.js";
import { count, kudos, when } from "./format.js";
import { art, icon } from "./icons.js";
import { pageCard } from "./page-card.js";
import { settingsCard } from "./settings-form.js";
import { say, toast, toastError } from "./toast.js";
import { deviceCard, modelsCard, rulesCard, wantedCard } from "./worker-cards.js";

const LOOK_MS = 3000;
const PAUSES = [
  ["0", "Until I resume"],
  ["3600", "1 hour"],
  ["14400", "4 hours"],
  ["43200", "12 hours"],
];

class Worker {
  constructor(box) {
    this.hero = h("section", { class: "card hero", "aria-label": "State", "aria-live": "polite" });
    this.figures = h("ul", { class: "figures" });
    this.cards = h("div", { class: "halves" });
    this.settings = h("div");
    this.said = "";
    show(
      box,
      h(
        "header",
        { class: "head" },
        h("div", {}, h("h1", { tabindex: "-1" }, "Worker"), h("p", {}, "What this machine does for others.")),
      ),
      this.hero,
      this.figures,
      this.cards,
      this.settings,
      pageCard(),
    );
    this.look();
  }

  close() {
    this.over = true;
    clearTimeout(this.timer);
  }

  async look() {
    try {
      const [status, state, balance, models] = await Promise.all([
        get("/v1/status"),
        get("/v1/worker"),
        get("/v1/credit/balance"),
        get("/v1/models"),
      ]);
      const said = JSON.stringify([status.worker, state, balance, models.local]);
      if (said !== this.said && !this.over) this.showAll(status.worker ?? {}, state, balance, models.local);
      this.said = said;
      if (!this.settings.hasChildNodes()) this.showSettings();
    } catch (error) {
      if (error.code === "no_worker") this.showNone(error);
      else if (!this.said) toastError(error);
    }
    if (!this.over) this.timer = setTimeout(() => this.look(), LOOK_MS);
  }

  showNone(error) {
    if (this.said === "none") return;
    this.said = "none";
    show(
      this.hero,
      h(
        "div",
        { class: "empty" },
        art(),
        h("h2", {}, "This node does no work for others"),
        h("p", {}, error.hint || error.message),
      ),
    );
    this.showSettings();
  }

  showSettings() {
    settingsCard().then(
      (card) => show(this.settings, card),
      (error) =>
        show(this.settings, error.code === "no_file" || error.status === 404 ? null : h("p", { class: "error" }, error.message)),
    );
  }

  showAll(device, state, balance, local) {
    show(this.hero, this.stateOf(state), this.switchOf(state));
    const numbers = [
      [count(device.pictures ?? 0, "picture"), "done since the start"],
      [count(device.jobs ?? 0, "job"), device.queued ? `${device.queued} pictures waiting` : "none waiting"],
      [`${kudos(balance.earned_mkudos)} kudos`, "earned"],
      device.failed || device.unpaid ? [`${device.failed ?? 0} / ${device.unpaid ?? 0}`, "failed / unpaid"] : ["0", "failed"],
    ];
    show(
      this.figures,
      numbers.map(([number, what]) => h("li", { class: "figure" }, h("strong", { class: "num" }, number), h("span", {}, what))),
    );
    show(this.cards, deviceCard(device, state), modelsCard(state, local), wantedCard(state), rulesCard(state.rules));
  }

  stateOf(state) {
    const pause = state.paused;
    const title = state.takes_work
      ? state.jobs
        ? "Drawing for others"
        : "Ready for others"
      : pause
        ? "Paused"
        : "Takes no work now";
    const words = state.takes_work
      ? state.jobs
        ? `${count(state.jobs, "job")} under way`
        : "It takes the next job that fits."
      : "";
    const reasons = state.reasons.map((why) =>
      h("p", { class: "quiet" }, why.text, why.until_ms ? `, until ${when(why.until_ms)}` : ""),
    );
    return h(
      "div",
      { class: "state" },
      h("span", { class: `lamp ${state.takes_work ? "on" : ""}` }),
      h("div", {}, h("h2", {}, title), words && h("p", { class: "quiet" }, words), reasons),
    );
  }

  switchOf(state) {
    if (state.paused)
      return h("button", { class: "button main-action", type: "button", onclick: () => this.resume() }, icon("play"), "Resume");
    return h("button", { class: "button", type: "button", onclick: () => this.askPause() }, icon("pause"), "Pause …");
  }

  async askPause() {
    const { openDialog } = await import("./dialog.js");
    const body = { for_s: 0, message: "", now: false };
    const message = h("input", { class: "input", maxlength: 120, placeholder: "e.g. rendering a film until Sunday" });
    const now = h("input", { type: "checkbox", role: "switch" });
    const problem = h("p", { class: "error", role: "alert" });
    const go = h("button", { class: "button main-action", type: "button" }, icon("pause"), "Pause");
    const box = openDialog({
      title: "Pause the worker",
      body: h(
        "div",
        { class: "stack" },
        choices("For how long", PAUSES, "0", (value) => (body.for_s = Number(value))),
        field("A word to others", message, { hint: "One line, shown with this node's state. May stay empty." }),
        h(
          "label",
          { class: "check" },
          now,
          h("span", {}, "Drop what was accepted", h("span", { class: "hint" }, h("br"), "Otherwise it is finished first.")),
        ),
        problem,
      ),
      footer: [h("button", { class: "button", type: "button", onclick: () => box.close() }, "Keep working"), go],
    });
    go.addEventListener("click", async () => {
      try {
        await post("/v1/worker/pause", { ...body, message: message.value.trim(), now: now.checked });
        box.close();
        this.changed("Paused.");
      } catch (error) {
        problem.textContent = error.message;
      }
    });
  }

  async resume() {
    try {
      await post("/v1/worker/resume", {});
      this.changed("It takes work again.");
    } catch (error) {
      toastError(error);
    }
  }

  changed(words) {
    toast(words);
    say(words);
    clearTimeout(this.timer);
    this.look();
  }
}

function open(box) {
  const worker = new Worker(box);
  return () => worker.close();
}

export default { title: "Worker", open };
