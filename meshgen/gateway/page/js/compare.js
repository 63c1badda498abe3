// Two pictures on top of each other, with a line between them to move.
import { openDialog } from "./dialog.js";
import { h, show } from "./dom.js";
import { line } from "./format.js";
import { history } from "./history.js";
import { fill } from "./pictures.js";

const OFFERED = 60;

/** Asks which other picture; those of the same job and of the same prompt come first. */
export async function compareWith(record) {
  const near = (other) => Number(other.job === record.job) + Number(other.settings?.prompt === record.settings?.prompt);
  const others = (await history.all())
    .filter((other) => other.id !== record.id)
    .sort((a, b) => near(b) - near(a))
    .slice(0, OFFERED);
  const item = (other) => {
    const picture = h("img", { alt: line(other.settings?.prompt ?? "", 100) });
    fill(picture, other.id);
    return h(
      "li",
      {},
      h("button", { type: "button", class: "tile-open", onclick: () => (box.close(), compareTwo(record, other)) }, picture),
    );
  };
  const body = others.length
    ? h("ul", { class: "strip" }, others.map(item))
    : h("p", { class: "wait" }, "There is no other picture yet.");
  const box = openDialog({ title: "Compare with", body });
}

export function compareTwo(one, other) {
  const pictures = [one, other].map((record) => h("img", { alt: line(record.settings?.prompt ?? "", 100) }));
  pictures.forEach((picture, at) => fill(picture, [one, other][at].id, "full"));
  const range = h("input", {
    type: "range",
    min: 0,
    max: 100,
    value: 50,
    step: 0.5,
    "aria-label": "How much of the first picture is seen",
    autofocus: true,
  });
  const sheet = h(
    "div",
    { class: "two" },
    pictures[1],
    h("div", { class: "over" }, pictures[0]),
    h("div", { class: "split" }),
    range,
  );
  const ratio = one.width && one.height ? one.width / one.height : 1;
  sheet.style.setProperty("--ratio", ratio);
  const paint = () => sheet.style.setProperty("--at", `${range.value}%`);
  range.addEventListener("input", paint);
  paint();
  const words = (record, where) =>
    h(
      "p",
      { class: "small quiet cut" },
      h("strong", {}, `${where}: `),
      `${record.model} · seed ${record.seed} · ${line(record.settings?.prompt ?? "", 90)}`,
    );
  openDialog({
    title: "Compare",
    body: show(h("div", { class: "stack tight" }), sheet, words(one, "Left"), words(other, "Right")),
    className: "comparing",
  });
}
