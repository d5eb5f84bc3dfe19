/** The file of `hivewire export` and `hivewire import`: build it, save it, read it, and compare it with the gateway. */

import {hw} from "./gateway.js";

const TEXT = "text/plain; charset=utf-8";
const MEMBERS = ["name", "value", "entityVersion", "contentType"];
/** Most exact names in one request. */
const NAMES = 100;

/** The text of an export: one configuration a line, by name. */
export function rendered(entries, head = {}) {
  const lines = entries
    .toSorted((a, b) => (a.name < b.name ? -1 : 1))
    .map(({name, value, version, contentType}) => JSON.stringify({name, value, entityVersion: version, contentType}));
  return `${JSON.stringify({hivewire: 1, ...head}).slice(0, -1)},"configurations":[\n${lines.join(",\n")}]}\n`;
}

/** Let the browser save a text as a file. */
export function saved(name, text) {
  const url = URL.createObjectURL(new Blob([text], {type: "application/json"}));
  Object.assign(document.createElement("a"), {href: url, download: name}).click();
  setTimeout(() => URL.revokeObjectURL(url), 1_000);
}

/** The entries of an export. Throws an error about the first invalid one. */
export function parsed(text) {
  const file = JSON.parse(text.replace(/^\uFEFF/, ""));
  if (file?.hivewire !== 1 || !Array.isArray(file.configurations))
    throw new Error('This is not an export: it must be an object with "hivewire":1 and "configurations".');
  const seen = new Set();
  return file.configurations.map((entry, index) => {
    const where = `configurations[${index}]`;
    const unknown = Object.keys(entry ?? {}).find((member) => !MEMBERS.includes(member));
    if (entry === null || typeof entry !== "object") throw new Error(`${where} is no object.`);
    if (unknown !== undefined) throw new Error(`${where} has an unknown member: ${unknown}.`);
    const {name, value, contentType = TEXT} = entry;
    if (typeof name !== "string" || !name) throw new Error(`${where} has no name.`);
    if (typeof value !== "string" || !value) throw new Error(`${where}, ${name}, has no value.`);
    if (seen.has(name)) throw new Error(`${where} has the same name as another: ${name}.`);
    seen.add(name);
    return {name, value, contentType};
  });
}

/** The handler of a field that calls `work` with the chosen file. The field forgets it, so that the same one can be chosen again when it was changed. */
export const choosing = (work) => ({currentTarget: field}) => {
  const [file] = field.files;
  field.value = "";
  if (file) work(file);
};

/** Entries compared with the gateway: `new`, `changed` or `same`. */
export async function compared(entries) {
  const there = new Map();
  for (let start = 0; start < entries.length; start += NAMES) {
    const names = entries.slice(start, start + NAMES).map(({name}) => name);
    const found = await hw.list(names, {take: names.length, detail: true});
    for (const entry of found.entries) there.set(entry.name, entry);
  }
  return entries.map((entry) => {
    const now = there.get(entry.name);
    const same = now && now.value === entry.value && (now.contentType ?? TEXT) === entry.contentType;
    return {...entry, now, state: same ? "same" : now ? "changed" : "new"};
  });
}

/** The configurations of patterns or names, with complete values, a page at a time. */
export async function everything(names) {
  const found = [];
  let revision;
  for (let start = 0; start < Math.max(1, names?.length ?? 1); start += NAMES) {
    const part = names?.slice(start, start + NAMES);
    let after;
    for (;;) {
      const page = await hw.list(part, {take: 1_000, after});
      revision ??= page.revision;
      found.push(...page.entries);
      after = page.entries.at(-1)?.name;
      if (page.entries.length < 1_000) break;
    }
  }
  return {entries: found, revision};
}
