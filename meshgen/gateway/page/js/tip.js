// Credit as a thank-you to whoever drew a picture.
import { post } from "./api.js";
import { openDialog } from "./dialog.js";
import { h } from "./dom.js";
import { choices, clamp, field } from "./fields.js";
import { kudos, nameOf } from "./format.js";
import { icon } from "./icons.js";
import { toast } from "./toast.js";

const AMOUNTS = [1, 5, 10, 25];

export function openTip(record) {
  const who = nameOf(record.worker_alias, record.worker);
  const amount = h("input", { class: "input num", type: "number", min: 0.001, step: "any", value: 5, inputmode: "decimal" });
  const problem = h("p", { class: "error", role: "alert" });
  const give = h("button", { class: "button main-action", type: "button" }, icon("heart"), "Give");
  const body = h(
    "div",
    { class: "stack" },
    h("p", { class: "quiet" }, `Goes from your balance to ${who} at once, and can't be taken back.`),
    choices(
      "How much",
      AMOUNTS.map((value) => [String(value), `${value} kudos`]),
      "5",
      (value) => (amount.value = value),
    ),
    field("Or another amount, in kudos", amount),
    problem,
  );
  const box = openDialog({
    title: `Tip ${who}`,
    body,
    footer: [h("button", { class: "button", type: "button", onclick: () => box.close() }, "Not now"), give],
  });
  give.addEventListener("click", async () => {
    give.disabled = true;
    try {
      const mkudos = Math.round(clamp(Number(amount.value), 0.001, 2 ** 30) * 1000);
      await post("/v1/credit/tip", { peer: record.worker, mkudos, about: record.receipt });
      box.close();
      toast(`${who} has ${kudos(mkudos)} kudos more.`);
    } catch (error) {
      problem.textContent = [error.message, error.hint].filter(Boolean).join(" · ");
      give.disabled = false;
    }
  });
}
