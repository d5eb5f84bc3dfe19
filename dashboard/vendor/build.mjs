// Bundles what the dashboard uses of others, with the pinned esbuild: node build.mjs MODULES OUT
// MODULES is where `npm ci` has installed package-lock.json; OUT gets one file for each bundle, and licences;
// their sums are beside this file.
import {createHash} from "node:crypto";
import {mkdirSync, readdirSync, readFileSync, writeFileSync} from "node:fs";
import {createRequire} from "node:module";
import {join, resolve} from "node:path";

const [modules, out] = process.argv.slice(2).map(path => resolve(path));
const {build} = createRequire(join(modules, "package.json"))("esbuild");

// The bundles: what each exports. The first is on every screen, the others are loaded when they are needed.
const BUNDLES = {
    preact: `
        import {h} from "preact";
        import htm from "htm";
        export {render} from "preact";
        export {useEffect, useLayoutEffect, useMemo, useRef, useState, useId} from "preact/hooks";
        export {signal, effect} from "@preact/signals";
        export const html = htm.bind(h);`,
    codemirror: `
        export {EditorState} from "@codemirror/state";
        export {EditorView, keymap, lineNumbers, drawSelection, highlightSpecialChars, highlightTrailingWhitespace} from "@codemirror/view";
        export {defaultKeymap, history, historyKeymap} from "@codemirror/commands";
        export {HighlightStyle, syntaxHighlighting, bracketMatching} from "@codemirror/language";
        export {json, jsonParseLinter} from "@codemirror/lang-json";
        export {linter, lintGutter} from "@codemirror/lint";
        export {MergeView, unifiedMergeView} from "@codemirror/merge";
        export {search, searchKeymap, highlightSelectionMatches} from "@codemirror/search";
        export {tags} from "@lezer/highlight";`,
    diff3: `export {diff3Merge} from "node-diff3";`,
};

const packages = new Set();
const files = new Map();
for (const [name, contents] of Object.entries(BUNDLES)) {
    const {outputFiles, metafile} = await build({
        stdin: {contents, resolveDir: modules},
        bundle: true, minify: true, format: "esm", target: "es2022", write: false, metafile: true,
        legalComments: "none", absWorkingDir: modules, outfile: `${name}.js`,
    });
    files.set(`${name}.js`, outputFiles[0].contents);
    for (const input of Object.keys(metafile.inputs)) {
        const found = /node_modules\/((?:@[^/]+\/)?[^/]+)\//.exec(input);
        if (found) packages.add(found[1]);
    }
}

// The licence of each package that got into a bundle, once for all that have the same text.
const licences = new Map();
for (const name of [...packages].sort()) {
    const folder = join(modules, "node_modules", name);
    const {version, license} = JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));
    const text = readFileSync(join(folder, readdirSync(folder).find(each => /^licen[cs]e/i.test(each))), "utf8").trim();
    licences.set(text, `${licences.get(text) ?? ""}${name} ${version} (${license})\n`);
}
const texts = [...licences].map(([text, names]) => `${names}\n${text}\n`);
files.set("LICENCES", texts.join(`\n${"-".repeat(80)}\n\n`));

mkdirSync(out, {recursive: true});
const sums = [...files].map(([name, content]) => {
    writeFileSync(join(out, name), content);
    return `${createHash("sha256").update(content).digest("hex")}  ${name}\n`;
});
writeFileSync(new URL("SHA256SUMS", import.meta.url), sums.sort().join(""));
