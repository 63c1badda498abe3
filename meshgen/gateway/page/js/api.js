// Calls to the node. Everything goes to where the page came from.

/** What the node answered instead of what was asked for. */
export class Refused extends Error {
  constructor(status, error = {}) {
    super(error.message || `the node answered with ${status}`);
    this.status = status;
    this.code = error.code || "";
    this.field = error.field || "";
    this.hint = error.hint || "";
  }
}

/** Nobody answered. */
export class Unreachable extends Error {
  constructor() {
    super("the node does not answer; is it running?");
  }
}

const watchers = new Set();

/** f("out" | "away" | "back"): the session is over, the node is gone or back. */
export function watch(f) {
  watchers.add(f);
}

function tell(what) {
  for (const f of watchers) f(what);
}

let away = false;

async function call(method, path, body, signal) {
  const answer = await reach(path, {
    method,
    signal,
    headers: body === undefined ? {} : { "content-type": "application/json" },
    body: body === undefined ? undefined : JSON.stringify(body),
  });
  if (answer.ok) return answer;
  const said = await answer.json().catch(() => ({}));
  if (answer.status === 401 && path !== "/session") tell("out");
  throw new Refused(answer.status, said.error);
}

async function reach(path, given) {
  try {
    const answer = await fetch(path, { ...given, credentials: "same-origin", cache: "no-store", redirect: "error" });
    if (away) tell("back");
    away = false;
    return answer;
  } catch (error) {
    if (error.name === "AbortError") throw error;
    if (!away) tell("away");
    away = true;
    throw new Unreachable();
  }
}

async function json(method, path, body, signal) {
  const answer = await call(method, path, body, signal);
  return answer.status === 204 ? null : answer.json();
}

export const get = (path, signal) => json("GET", path, undefined, signal);
export const post = (path, body, signal) => json("POST", path, body, signal);
export const patch = (path, body) => json("PATCH", path, body);
export const remove = (path) => json("DELETE", path);
export const fetchBlob = async (path) => (await call("GET", path)).blob();

/** A query string of what is given. */
export function query(path, given) {
  const words = Object.entries(given).filter(([, value]) => value !== undefined && value !== "");
  return `${path}?${new URLSearchParams(words)}`;
}

// -- the session

export async function isSignedIn() {
  try {
    return (await get("/session")).signed_in;
  } catch (error) {
    if (error instanceof Refused && error.status === 401) return false;
    throw error;
  }
}

export async function signIn(given) {
  await post("/session", given);
}

export async function signOut() {
  await remove("/session");
  tell("out");
}
