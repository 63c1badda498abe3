// What js-libp2p takes for granted and Node.js 20 lacks, imported before anything of libp2p; and patience.

import { setTimeout } from "node:timers/promises";

const AGAIN_MS = 250;

Promise.withResolvers ??= function withResolvers() {
  const made = {};
  made.promise = new this((resolve, reject) => Object.assign(made, { resolve, reject }));
  return made;
};

// What it comes to once it comes to something.
export async function again(attempt) {
  for (;;) {
    const found = await attempt();
    if (found) return found;
    await setTimeout(AGAIN_MS);
  }
}
