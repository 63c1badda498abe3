// Elements from words. Text stays text: nothing here or elsewhere parses markup, so a peer's name can't become any.

/** h("p", {class: "x", onclick: f}, "text", child): properties that begin with "on" listen, true and false switch attributes. */
export function h(name, given = {}, ...children) {
  return filled(document.createElement(name), given, children);
}

const SVG = "http://www.w3.org/2000/svg";

export function s(name, given = {}, ...children) {
  return filled(document.createElementNS(SVG, name), given, children);
}

function filled(element, given, children) {
  for (const [key, value] of Object.entries(given)) set(element, key, value);
  element.append(...present(children));
  return element;
}

function set(element, key, value) {
  if (value === undefined || value === null || value === false) return;
  if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
  else if (key === "value") element.value = value;
  else if (key === "style") for (const [name, word] of Object.entries(value)) element.style.setProperty(name, word);
  else if (key === "data") Object.assign(element.dataset, value);
  else element.setAttribute(key, value === true ? "" : value);
}

function present(children) {
  return children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false);
}

/** Put these in the place of everything that the element holds. */
export function show(element, ...children) {
  element.replaceChildren(...present(children));
  return element;
}

let last = 0;
export function newId(word = "id") {
  last += 1;
  return `${word}-${last}`;
}

/** An id that nobody else has. (crypto.randomUUID is not there on pages that come over a local network without TLS.) */
export function uniqueId() {
  return [...crypto.getRandomValues(new Uint32Array(4))].map((part) => part.toString(16).padStart(8, "0")).join("");
}

/** Calls f once things have been quiet for so many milliseconds. */
export function settled(f, ms) {
  let timer = 0;
  return (...words) => {
    clearTimeout(timer);
    timer = setTimeout(() => f(...words), ms);
  };
}
