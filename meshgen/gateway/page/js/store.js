// The history in this browser: pictures with their settings, jobs under way, storyboards, the picture to start from.

const NAME = "meshgen";
const VERSION = 1;

let opened = null;

function open() {
  opened ??= new Promise((resolve, reject) => {
    const request = indexedDB.open(NAME, VERSION);
    request.onupgradeneeded = () => {
      const base = request.result;
      const pictures = base.createObjectStore("pictures", { keyPath: "id" });
      pictures.createIndex("made", "made_ms");
      base.createObjectStore("files"); // picture id -> {full, small}: blobs are not read to list pictures
      base.createObjectStore("jobs", { keyPath: "id" });
      base.createObjectStore("boards", { keyPath: "id" });
      base.createObjectStore("things"); // what a form holds
    };
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
  return opened;
}

/** Runs work(stores) in one transaction; resolves with the result of the request that it returns, once all is on disk. */
async function within(names, mode, work) {
  const base = await open();
  return new Promise((resolve, reject) => {
    const bundle = base.transaction(names, mode);
    const request = work((name) => bundle.objectStore(name));
    bundle.oncomplete = () => resolve(request?.result);
    bundle.onerror = bundle.onabort = () => reject(bundle.error);
  });
}

export const put = (name, value, key) => within([name], "readwrite", (store) => store(name).put(value, key));
export const take = (name, key) => within([name], "readonly", (store) => store(name).get(key));
export const all = (name) => within([name], "readonly", (store) => store(name).getAll());
export const keysOf = (name) => within([name], "readonly", (store) => store(name).getAllKeys());
export const drop = (name, key) => within([name], "readwrite", (store) => store(name).delete(key));

/** All pictures' records, the newest first. */
export async function pictures() {
  const found = await within(["pictures"], "readonly", (store) => store("pictures").index("made").getAll());
  return found.reverse();
}

export function addPicture(record, files) {
  return within(["pictures", "files"], "readwrite", (store) => {
    store("files").put(files, record.id);
    return store("pictures").put(record);
  });
}

export function removePictures(ids) {
  return within(["pictures", "files"], "readwrite", (store) => {
    for (const id of ids) {
      store("pictures").delete(id);
      store("files").delete(id);
    }
  });
}
