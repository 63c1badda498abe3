// One field for the key.
import { signIn } from "./api.js";
import { h, show } from "./dom.js";

export function askForKey() {
  const shell = document.getElementById("shell");
  if (shell.querySelector(".signin")) return;
  const problem = h("p", { class: "error", role: "alert" });
  const key = h("input", {
    class: "input mono",
    id: "key",
    type: "password",
    autocomplete: "current-password",
    required: true,
    spellcheck: "false",
    "aria-describedby": "key-hint",
  });
  const form = h(
    "form",
    { onsubmit: (event) => enter(event, key, problem) },
    h("img", { src: "/page/icons/icon.svg", alt: "" }),
    h("h1", { tabindex: "-1" }, "Welcome to your node"),
    h(
      "p",
      { class: "quiet", id: "key-hint" },
      "Run ",
      h("code", {}, "meshgen page"),
      " and you are in at once. Or paste what ",
      h("code", {}, "meshgen key"),
      " shows.",
    ),
    h("input", { type: "text", autocomplete: "username", value: "owner", hidden: true }), // for managers of passwords
    h("div", { class: "field" }, h("label", { for: "key" }, "Key"), key, problem),
    h("button", { class: "button main-action" }, "Come in"),
  );
  shell.className = "";
  show(shell, h("main", { class: "signin", id: "main" }, form));
  key.focus();
}

async function enter(event, key, problem) {
  event.preventDefault();
  problem.textContent = "";
  try {
    await signIn({ key: key.value.trim() });
    location.reload();
  } catch (error) {
    problem.textContent = error.status === 401 || error.status === 403 ? "That is not this node's key." : error.message;
    key.select();
  }
}
