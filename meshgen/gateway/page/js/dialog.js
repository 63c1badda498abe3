// A window over the page: the browser's own <dialog>, which keeps the focus inside and closes on Escape.
import { h, newId } from "./dom.js";
import { icon } from "./icons.js";

/** open({title, body, footer, className}) -> the dialog. Closing removes it. */
export function openDialog({ title, body, footer = null, className = "", onclose = () => {} }) {
  const id = newId("title");
  const box = h(
    "dialog",
    { class: className, "aria-labelledby": id },
    h(
      "header",
      {},
      h("h2", { id, class: "grow" }, title),
      closer(() => box.close()),
    ),
    h("div", { class: "body" }, body),
    footer && h("footer", {}, footer),
  );
  box.addEventListener("close", () => (box.remove(), onclose()));
  box.addEventListener("click", (event) => event.target === box && box.close());
  document.body.append(box);
  box.showModal();
  return box;
}

export function closer(close) {
  return h("button", { class: "button plain icon small", type: "button", "aria-label": "Close", onclick: close }, icon("close"));
}

/** Resolves with true if it was meant. */
export function confirmed(title, text, label) {
  return new Promise((resolve) => {
    let meant = false;
    const yes = h(
      "button",
      { class: "button main-action", type: "button", autofocus: true, onclick: () => ((meant = true), box.close()) },
      label,
    );
    const no = h("button", { class: "button", type: "button", onclick: () => box.close() }, "Keep");
    const box = openDialog({ title, body: h("p", {}, text), footer: [no, yes], onclose: () => resolve(meant) });
  });
}
