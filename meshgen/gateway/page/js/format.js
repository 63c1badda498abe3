// Numbers and times as people read them.

const whole = new Intl.NumberFormat(undefined, { maximumFractionDigits: 0 });
const tenths = new Intl.NumberFormat(undefined, { maximumFractionDigits: 1 });
const exact = new Intl.NumberFormat(undefined, { maximumFractionDigits: 3 });

/** Kudos of thousandths of one. */
export function kudos(mkudos) {
  const value = mkudos / 1000;
  return (Math.abs(value) >= 100 ? whole : tenths).format(value).replace("-", "\u2212");
}

export function exactKudos(mkudos) {
  return exact.format(mkudos / 1000);
}

export function count(number, one, many = `${one}s`) {
  return `${whole.format(number)} ${number === 1 ? one : many}`;
}

export function memory(mib) {
  return mib >= 1024 ? `${tenths.format(mib / 1024)} GB` : `${whole.format(mib)} MB`;
}

export function duration(seconds) {
  if (seconds < 60) return `${Math.max(0, Math.round(seconds))} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${Math.round(seconds % 60)} s`;
  if (seconds < 86400) return `${Math.floor(seconds / 3600)} h ${Math.floor((seconds % 3600) / 60)} min`;
  return `${Math.floor(seconds / 86400)} d ${Math.floor((seconds % 86400) / 3600)} h`;
}

const day = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });
const clock = new Intl.DateTimeFormat(undefined, { timeStyle: "short" });

export function when(ms) {
  if (!ms) return "no date";
  const date = new Date(ms);
  return date.toDateString() === new Date().toDateString() ? `today, ${clock.format(date)}` : day.format(date);
}

/** Names that a peer gave itself, or the end of its id. */
export function nameOf(alias, peer) {
  return alias || (peer ? `peer …${peer.slice(-6)}` : "somebody");
}

export function short(hex) {
  return hex.length > 14 ? `${hex.slice(0, 10)}…` : hex;
}

/** A text as one line of a list. */
export function line(text, most = 120) {
  const flat = text.replace(/\s+/g, " ").trim();
  return flat.length > most ? `${flat.slice(0, most - 1)}…` : flat;
}
