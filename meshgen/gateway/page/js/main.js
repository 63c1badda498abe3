// Begins: who is there, the rail, and the view that the address names.
import { isSignedIn, signIn, Unreachable, watch } from "./api.js";
import { h, show } from "./dom.js";
import { startKeys } from "./keys.js";
import { jobs } from "./jobs.js";
import { startRail } from "./rail.js";
import { startRouter } from "./router.js";
import { askForKey } from "./session.js";
import { toast } from "./toast.js";

async function begin() {
  const given = new URLSearchParams(location.hash.slice(1)).get("code");
  if (given) {
    history.replaceState(null, "", "#/create");
    try {
      await signIn({ code: given });
    } catch (error) {
      toast(`That link has been used, or is too old: ${error.message}`, { bad: true });
    }
  }
  try {
    if (await isSignedIn()) await start();
    else askForKey();
  } catch (error) {
    if (!(error instanceof Unreachable)) throw error;
    await start(); // the history is here, whether or not the node runs
  }
}

async function start() {
  await jobs.load();
  startRail();
  startKeys();
  startRouter();
}

function lost() {
  const line = h(
    "p",
    { class: "offline", id: "offline", role: "alert" },
    "The node does not answer. What you made is still here; new pictures need the node: start it with ",
    h("code", {}, "meshgen run"),
    ".",
  );
  if (!document.getElementById("offline")) document.getElementById("shell").querySelector("main").before(line);
}

watch((what) => {
  if (what === "out") askForKey();
  if (what === "away") lost();
  if (what === "back") document.getElementById("offline")?.remove();
});
window.addEventListener("unhandledrejection", (event) => {
  if (event.reason instanceof Unreachable) event.preventDefault();
});
if ("serviceWorker" in navigator)
  navigator.serviceWorker.register("/sw.js").catch((error) => console.warn("not installable here", error.message));
begin().catch((error) => {
  show(document.getElementById("main"), h("p", { class: "error" }, error.message));
  throw error;
});
