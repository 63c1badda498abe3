// The sections, what is going on, and the colours.
import { get } from "./api.js";
import { h, show } from "./dom.js";
import { count, kudos } from "./format.js";
import { icon } from "./icons.js";
import { jobs } from "./jobs.js";
import { nextTheme, theme, THEMES } from "./theme.js";
import { say } from "./toast.js";

const SECTIONS = [
  ["create", "Create", "create"],
  ["gallery", "Gallery", "gallery"],
  ["storyboard", "Story", "story"],
  ["mesh", "Mesh", "mesh"],
  ["worker", "Worker", "worker"],
  ["credit", "Credit", "credit"],
];
const LOOK_MS = 10_000;

export function startRail() {
  const link = h("a", { class: "link", href: "#/mesh" });
  const badge = h("span", { class: "badge num", hidden: true });
  show(
    document.getElementById("rail"),
    h(
      "a",
      { class: "brand", href: "#/create", "aria-label": "meshgen, to Create" },
      h("img", { src: "/page/icons/icon.svg", alt: "", width: 36, height: 36 }),
    ),
    h(
      "nav",
      { "aria-label": "Sections" },
      h(
        "ul",
        {},
        SECTIONS.map(([name, label, picture]) => h("li", {}, section(name, label, picture, name === "create" && badge))),
      ),
    ),
    h("div", { class: "foot" }, link, themeButton(), helpButton()),
  );
  jobs.addEventListener("change", () => showRunning(badge));
  showRunning(badge);
  look(link);
}

function section(name, label, picture, badge) {
  return h("a", { href: `#/${name}`, data: { section: name } }, icon(picture), label, badge);
}

function showRunning(badge) {
  const number = jobs.running.length;
  badge.hidden = number === 0;
  badge.textContent = number;
  badge.title = `${count(number, "job")} under way`;
}

export function mark(name) {
  for (const link of document.querySelectorAll("#rail [data-section]")) {
    if (link.dataset.section === name) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
}

export function themeButton() {
  const button = h("button", {
    class: "button plain icon",
    type: "button",
    onclick: () => (dress(nextTheme()), say(button.title)),
  });
  const dress = (chosen) => {
    const [picture, words] = THEMES[chosen];
    show(button, icon(picture));
    button.title = `Colours: ${words}`;
    button.setAttribute("aria-label", `${button.title}; change`);
  };
  dress(theme());
  return button;
}

function helpButton() {
  const open = async () => (await import("./keys.js")).showKeys();
  return h(
    "button",
    {
      class: "button plain icon",
      type: "button",
      title: "Keyboard shortcuts (?)",
      "aria-label": "Keyboard shortcuts",
      onclick: open,
    },
    icon("keys"),
  );
}

/** The line below the sections: is the node in a mesh, and its balance. */
async function look(link) {
  try {
    const status = await get("/v1/status");
    const words = count(status.connected, "peer");
    show(
      link,
      h("span", { class: `dot ${status.connected ? "on" : "wait"}` }),
      ` ${words}`,
      h("br"),
      `${kudos(status.credit.net_mkudos)} kudos`,
    );
    link.title = `${status.alias || "this node"} is linked to ${words}`;
  } catch {
    show(link, h("span", { class: "dot off" }), " no node");
  }
  setTimeout(() => look(link), LOOK_MS);
}
