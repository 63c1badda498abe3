// What it would cost, said before it is asked for. The prompt does not matter for that, and is not sent.
import { post } from "./api.js";
import { h, settled, show } from "./dom.js";
import { count, kudos } from "./format.js";
import { requestOf, withPictures } from "./form.js";

const QUIET_MS = 350;
const OF_NO_MATTER = new Set(["prompt", "negative_prompt", "seed", "seed_locked"]);

/** The line with the price, kept up to date; onfault(error or null) hears what is wrong with the settings. */
export function priceLine(form, onfault) {
  const line = h("p", { class: "price small", "aria-live": "polite" });
  let asking = null;
  const ask = async () => {
    asking?.abort();
    asking = new AbortController();
    try {
      const request = { ...requestOf(form.values), prompt: "-", negative_prompt: "", dry_run: true };
      const quote = await post(
        "/v1/jobs",
        await withPictures(request, { source: form.source, mask: form.mask, strength: form.values.strength }),
        asking.signal,
      );
      show(line, words(quote));
      onfault(null);
    } catch (error) {
      if (error.name === "AbortError") return;
      show(line, h("span", { class: "faint" }, error.code ? "no price for this" : ""));
      onfault(error);
    }
  };
  const soon = settled(ask, QUIET_MS);
  form.addEventListener("change", ({ detail }) => [...detail].some((key) => !OF_NO_MATTER.has(key)) && soon());
  ask();
  return line;
}

function words(quote) {
  const reach = quote.workers_in_reach;
  const level = quote.levels.find((one) => one.in_reach);
  if (quote.own)
    return [
      h("strong", {}, "Free on this node"),
      level && h("span", { class: "faint num" }, ` else about ${kudos(level.mkudos * quote.count)} kudos`),
    ];
  if (!level) return h("span", { class: "warm" }, "no worker takes it for what you would pay");
  const all = level.mkudos * quote.count;
  const each = quote.count > 1 ? `${kudos(level.mkudos)} each · ` : "";
  const title = `At most ${kudos(quote.total_mkudos)} kudos, whatever happens`;
  return [
    h("strong", { class: "num", title }, `about ${kudos(all)} kudos`),
    h("span", { class: "faint" }, `${each}${count(reach, "worker")} can`),
  ];
}
