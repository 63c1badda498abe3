// The types of fields as the tables of the specs write them: "bin 32 or empty", "uint 1..1000", "array 0..8 of text 1..128".
// What reads a value is a function (value, field) => the value as JSON shows it (bytes as hex); it throws Malformed.

import { isAscii, need } from "./codec.mjs";

// A type of one word is a record of `records`, {name: what reads it}, which may be filled later.
export function typed(type, records = {}) {
  if (/^[a-z-]+(\/1)?$/.test(type)) return (value, field) => records[type](value, field);
  const [, count, items] = type.match(/^array (\S+) of (.*)$/) ?? [];
  if (items) return list(range(count), typed(items, records));
  const [, words] = type.match(/^text, one of (.*)$/) ?? [];
  if (words) return word(words.split(" "));
  const [, name, span, more] = type.match(/^(bin|uint|text) (\S+?)(?:,? (or empty|Unicode))?$/);
  return { bin, uint, text }[name](range(span), more);
}

// Fields in their order, {name: type}, as what reads [value, ...] as {name: ..., ...}.
export function fields(types, records) {
  const readers = Object.entries(types).map(([name, type]) => [name, typed(type, records)]);
  return (values, of) => {
    need(Array.isArray(values) && values.length === readers.length, `${of}: not ${readers.length} fields`);
    return Object.fromEntries(readers.map(([name, read], place) => [name, read(values[place], `${of}.${name}`)]));
  };
}

// A record: its tag, then its fields.
export function tagged(tag, types, records) {
  const read = fields(types, records);
  return (value) => {
    need(Array.isArray(value) && value[0] === tag, `not a ${tag}`);
    return { tag, ...read(value.slice(1), tag) };
  };
}

// The way back: a value as JSON shows it, as the codec takes it. `records` are the fields of each, {name: {field: type}}.
export function written(type, value, records = {}) {
  if (type.startsWith("bin ")) return Buffer.from(value, "hex");
  const [, items] = type.match(/^array \S+ of (.*)$/) ?? [];
  if (items) return value.map((each) => written(items, each, records));
  return Object.hasOwn(records, type) ? [type, ...writtenFields(records[type], value, records)] : value;
}

export function writtenFields(types, values, records) {
  return Object.entries(types).map(([name, type]) => written(type, values[name], records));
}

// "16" or "0..2^53-1" as [least, most].
function range(words) {
  const [least, most = least] = words.split("..").map(number);
  return [least, most];
}

function number(words) {
  const [power, less = 0] = words.split("-");
  const [base, exponent = 1] = power.split("^");
  return Number(base) ** Number(exponent) - Number(less);
}

function list([least, most], item) {
  return (value, field) => {
    need(Array.isArray(value) && value.length >= least && value.length <= most, `${field}: not an array of ${least} to ${most}`);
    return value.map((each) => item(each, field));
  };
}

function word(known) {
  return (value, field) => {
    need(known.includes(value), `${field}: not a known word`);
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
