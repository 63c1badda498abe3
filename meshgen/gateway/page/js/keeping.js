// Small things that survive a reload. A browser that keeps nothing is no fault: the page then forgets.

const PREFIX = "meshgen.";

export function kept(key, otherwise) {
  try {
    const text = localStorage.getItem(PREFIX + key);
    if (text === null) return otherwise;
    return key === "theme" ? text : JSON.parse(text);
  } catch {
    return otherwise;
  }
}

export function keep(key, value) {
  try {
    localStorage.setItem(PREFIX + key, key === "theme" ? value : JSON.stringify(value));
  } catch (error) {
    console.warn(`${key} is not kept`, error.name);
  }
}
