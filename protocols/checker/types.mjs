// The types of fields as the tables of the specs write them: "bin 32 or empty", "uint 1..1000", "array 0..8 of text 1..128".

import { isAscii, need } from "./codec.mjs";

const number = (digits) => digits.split("-").map((part) => part.split("^").map(Number).reduce((a, b) => a ** b)).reduce((a, b) => a - b);

// "16" or "0..2^53-1" as [least, most].
function range(words) {
  const [least, most = least] = words.split("..").map(number);
  return [least, most];
}

// What tells a value as JSON (bytes as hex), or throws Malformed. `known` are the words of "a known word", `records` tells "x/1".
export function typed(type, { known = [], record = null } = {}) {
  const array = type.match(/^array (\S+) of (.*)$/);
  if (array) return list(range(array[1]), typed(array[2], { known, record }));
  if (type.includes("/")) return (value, field) => record(type, value, field);
  if (type === "text, a known word") return word(known);
  const [, name, span, more = ""] = type.match(/^(bin|uint|text) (\S+?)(?:,? (or empty|Unicode))?$/);
  return { bin, uint, text }[name](range(span), more);
}

function list([least, most], item) {
  return (value, field) => {
    need(Array.isArray(value) && value.length >= least && value.length <= most, `${field}: not an array of ${least} to ${most}`);
    return value.map((each) => item(each, field));
  };
}

function word(known) {
  return (value, field) => {
    need(typeof value === "string" && known.includes(value), `${field}: not a known word`);
    return value;
  };
}

function uint([least, most]) {
  return (value, field) => {
    need(typeof value === "number" && value >= least && value <= most, `${field}: not a uint of ${least} to ${most}`);
    return value;
  };
}

function bin([least, most], more) {
  return (value, field) => {
    need(Buffer.isBuffer(value), `${field}: not bytes`);
    const fits = value.length >= least && value.length <= most;
    need(fits || (more === "or empty" && value.length === 0), `${field}: ${value.length} bytes`);
    return value.toString("hex");
  };
}

function text([least, most], more) {
  return (value, field) => {
    need(typeof value === "string" && (more === "Unicode" || isAscii(value)), `${field}: not such a text`);
    const length = Buffer.byteLength(value);
    need(length >= least && length <= most, `${field}: ${length} bytes`);
    return value;
  };
}

// Fields in their order, [[name, type], ...], as a function that tells [value, ...] as {name: ..., ...}.
export function fields(pairs, context) {
  const tellers = pairs.map(([name, type]) => [name, typed(type, typeof context === "function" ? context(name) : context)]);
  return (values, of) => {
    need(Array.isArray(values) && values.length === tellers.length, `${of}: not ${tellers.length} fields`);
    return Object.fromEntries(tellers.map(([name, tell], place) => [name, tell(values[place], `${of}.${name}`)]));
  };
}
