// Keeps the shell for when the node is not running. Nothing that a person made or may see goes into its cache.
const CACHE = "meshgen-shell-1";
const SHELL = /^\/(page\/.*|manifest\.webmanifest)?$/;

self.addEventListener("install", (event) => {
  event.waitUntil(keepAll().then(() => self.skipWaiting()));
});

async function keepAll() {
  const [cache, names] = await Promise.all([caches.open(CACHE), fetch("/page/files.json").then((answer) => answer.json())]);
  await cache.addAll(names.filter((name) => name !== "/sw.js"));
}

self.addEventListener("activate", (event) => {
  const old = (names) => Promise.all(names.filter((name) => name !== CACHE).map((name) => caches.delete(name)));
  event.waitUntil(
    caches
      .keys()
      .then(old)
      .then(() => self.clients.claim()),
  );
});

self.addEventListener("fetch", (event) => {
  const url = new URL(event.request.url);
  if (event.request.method === "GET" && url.origin === self.location.origin && SHELL.test(url.pathname)) {
    event.respondWith(fresh(event.request, url.pathname));
  }
});

/** The node's own answer where there is one: parts of two versions never mix while it runs. */
async function fresh(request, path) {
  const cache = await caches.open(CACHE);
  try {
    const answer = await fetch(request);
    if (answer.ok) await cache.put(path, answer.clone());
    return answer;
  } catch (error) {
    const kept = await cache.match(path);
    if (kept) return kept;
    throw error;
  }
}
