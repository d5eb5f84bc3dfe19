/**
 * Three-way merges of two edits of one text. Edits in different places are merged; each part that both have changed is a
 * choice. Lines come first, because this keeps the formatting of a text. JSON that cannot be merged by lines is merged by
 * member.
 */

import {diff3Merge} from "../vendor/diff3.js";
import {indentation, keeps, parse} from "./json.js";

/**
 * A part of the result: lines that are settled, or a choice between `theirs` and `yours`.
 *
 * @typedef {{text: string} | {label: string, theirs: string, yours: string, base: string}} Part
 */

/**
 * @param {string} base what both began with
 * @param {string} theirs
 * @param {string} yours
 * @param {boolean} json
 * @returns {{parts: Part[], choices: number, result: (chosen: ("theirs" | "yours" | undefined)[]) => string | undefined}}
 *   `result` is undefined while a choice is open
 */
export function merged(base, theirs, yours, json) {
  const lines = byLines(base, theirs, yours);
  const sound = !lines.choices && (!json || parse(lines.result([])) !== undefined);
  const objects = [base, theirs, yours].map(parse);
  if (sound || !json || objects.includes(undefined) || ![base, theirs, yours].every(keeps)) return lines;
  return byMember(...objects, indentation(yours) ?? indentation(theirs));
}

function byLines(base, theirs, yours) {
  const [a, o, b] = [yours, base, theirs].map((text) => text.split("\n"));
  const parts = diff3Merge(a, o, b, {excludeFalseConflicts: true}).map(({ok, conflict}) =>
    ok
      ? {text: ok.join("\n"), empty: !ok.length}
      : {label: `Line ${conflict.aIndex + 1}`, yours: lines(conflict.a), base: lines(conflict.o), theirs: lines(conflict.b), counts: conflict},
  );
  const chosen = (part, choice) => (choice === "yours" ? part.counts.a : part.counts.b);
  return finish(parts, (choices) => {
    let next = 0;
    return parts.flatMap((part) => (part.counts ? chosen(part, choices[next++]) : part.empty ? [] : part.text.split("\n"))).join("\n");
  });
}

const lines = (list) => list.join("\n");

function finish(parts, result) {
  const choices = parts.filter((part) => part.label !== undefined).length;
  return {
    parts,
    choices,
    result: (chosen) => (chosen.filter(Boolean).length >= choices ? result(chosen) : undefined),
  };
}

const ABSENT = Symbol("absent");
const same = (a, b) => a === b || (a !== ABSENT && b !== ABSENT && JSON.stringify(a) === JSON.stringify(b));
const isObject = (value) => value !== null && typeof value === "object" && !Array.isArray(value) && !JSON.isRawJSON?.(value);
const shown = (value) => (value === ABSENT ? "" : JSON.stringify(value, null, 2));

function byMember(base, theirs, yours, indent) {
  const parts = [];
  const build = walk(base, theirs, yours, "", parts);
  return finish(parts, (choices) => JSON.stringify(build(choices), null, indent));
}

/** A function that makes the value at a path from the choices; conflicts are added to `parts`. */
function walk(base, theirs, yours, path, parts) {
  if (same(theirs, yours) || same(base, yours)) return () => theirs;
  if (same(base, theirs)) return () => yours;
  if (isObject(theirs) && isObject(yours)) {
    const before = isObject(base) ? base : {};
    const keys = [...new Set([...Object.keys(yours), ...Object.keys(theirs)])];
    const member = (from, key) => (Object.hasOwn(from, key) ? from[key] : ABSENT);
    const made = keys.map((key) => [
      key,
      walk(member(before, key), member(theirs, key), member(yours, key), `${path}/${key.replace(/~/g, "~0").replace(/\//g, "~1")}`, parts),
    ]);
    return (choices) => {
      const result = {};
      for (const [key, make] of made) {
        const value = make(choices);
        if (value !== ABSENT) Object.defineProperty(result, key, {value, enumerable: true});
      }
      return result;
    };
  }
  const index = parts.length;
  parts.push({label: path || "The whole value", theirs: shown(theirs), yours: shown(yours), base: shown(base)});
  return (choices) => (choices[index] === "yours" ? yours : theirs);
}
