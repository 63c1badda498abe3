// What belongs to this browser rather than to the node: colours, keys, the session, the history.
import { signOut } from "./api.js";
import { confirmed } from "./dialog.js";
import { h } from "./dom.js";
import { choices } from "./fields.js";
import { count } from "./format.js";
import { history } from "./history.js";
import { showKeys } from "./keys.js";
import { setTheme, theme, THEMES } from "./theme.js";
import { toast, toastError } from "./toast.js";

export function pageCard() {
  const colours = Object.entries(THEMES).map(([name, [, words]]) => [name, words]);
  const button = (label, run, more = "") =>
    h("button", { class: `button small ${more}`, type: "button", onclick: () => run().catch(toastError) }, label);
  return h(
    "section",
    { class: "card stack", "aria-label": "This page" },
    h("h2", {}, "This page"),
    choices("Colours", colours, theme(), setTheme),
    h(
      "div",
      { class: "row wrap" },
      button("Keyboard shortcuts", async () => showKeys()),
      button("Forget all pictures here", forget, "danger"),
      button("Sign out", signOut),
    ),
  );
}

async function forget() {
  const all = await history.all();
  if (!all.length) return toast("There is none.");
  const words = `${count(all.length, "picture")} will be gone from this browser, and from nowhere else: it is the one place where they are kept.`;
  if (!(await confirmed("Forget all pictures?", words, "Forget them"))) return undefined;
  await history.remove(all.map((record) => record.id));
  return toast("All gone.");
}
