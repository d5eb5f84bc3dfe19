/**
 * The editor and the view of differences: CodeMirror, loaded when it is needed. It is in a shadow root, because it adds
 * a style sheet to its root, and the policy of the page does not allow that in the document.
 */

import {html, useLayoutEffect, useRef, useState} from "../vendor/preact.js";
import {load} from "./load.js";
import {settings} from "./settings.js";
import {plain} from "./text.js";
import {Problem} from "./ui.js";

let loaded;

/** CodeMirror, and our own parts that are made with it. */
function parts() {
  loaded ??= load(new URL("../vendor/codemirror.js", import.meta.url)).then((cm) => ({cm, looks: looks(cm)}));
  loaded.catch(() => (loaded = undefined)); // so that it is tried again
  return loaded;
}

/** The theme. The variables of tokens.css are also visible in the shadow root. */
function looks({EditorView, HighlightStyle, syntaxHighlighting, tags}) {
  const theme = EditorView.theme({
    "&": {fontSize: "var(--type-2)", color: "var(--ink)", backgroundColor: "var(--surface)", height: "100%"},
    "&.cm-focused": {outline: "none"}, // the gutter would cover its left side, so the host has the outline
    ".cm-scroller": {fontFamily: "var(--mono)", lineHeight: "1.5"},
    ".cm-scroller:focus-visible": {outline: "2px solid var(--accent)", outlineOffset: "-2px"},
    ".cm-gutters": {backgroundColor: "var(--sunken)", color: "var(--quiet)", border: "none"},
    ".cm-content": {caretColor: "var(--ink)", padding: "var(--s2) 0"},
    ".cm-cursor": {borderLeftColor: "var(--ink)"},
    "&.cm-focused > .cm-scroller > .cm-selectionLayer .cm-selectionBackground, .cm-selectionBackground": {
      backgroundColor: "var(--accent-soft)",
    },
    ".cm-activeLine, .cm-activeLineGutter": {backgroundColor: "transparent"},
    ".cm-trailingSpace": {backgroundColor: "var(--care-soft)", outline: "1px solid var(--care)"},
    ".cm-specialChar": {color: "var(--care)"},
    ".cm-panels": {backgroundColor: "var(--raised)", color: "var(--ink)"},
    ".cm-tooltip": {backgroundColor: "var(--raised)", color: "var(--ink)", border: "1px solid var(--line)"},
    ".cm-textfield, .cm-button": {backgroundColor: "var(--surface)", backgroundImage: "none", color: "var(--ink)"},
    "&.cm-merge-a .cm-changedLine, .cm-deletedChunk": {backgroundColor: "var(--bad-soft)"},
    "&.cm-merge-b .cm-changedLine, .cm-changedLine": {backgroundColor: "var(--good-soft)"},
    "&.cm-merge-a .cm-changedText, .cm-deletedChunk .cm-deletedText": {
      background: "none", color: "var(--bad)", fontWeight: "var(--strong)", textDecoration: "line-through",
    },
    "&.cm-merge-b .cm-changedText, .cm-changedText": {
      background: "none", color: "var(--good)", fontWeight: "var(--strong)", textDecoration: "underline",
    },
    ".cm-collapsedLines": {backgroundColor: "var(--sunken)", backgroundImage: "none", color: "var(--quiet)"},
  });
  const colours = HighlightStyle.define([
    {tag: tags.propertyName, color: "var(--accent)"},
    {tag: [tags.number, tags.bool, tags.null], color: "var(--care)"},
    {tag: tags.string, color: "var(--good)"},
  ]);
  return [theme, syntaxHighlighting(colours)];
}

/** The extensions of every pane: a label for screen readers, and a scroller that the keyboard reaches. */
function pane({cm, looks: ours}, {label, json, readOnly}) {
  const {EditorView, EditorState, lineNumbers, highlightSpecialChars, highlightTrailingWhitespace} = cm;
  return [
    lineNumbers(),
    highlightSpecialChars({addSpecialChars: /\p{Cf}/u, render: hidden}),
    highlightTrailingWhitespace(),
    EditorView.lineWrapping,
    EditorView.contentAttributes.of({"aria-label": label, ...(readOnly && {"aria-readonly": "true"})}),
    json ? cm.json() : [],
    readOnly ? [EditorState.readOnly.of(true), EditorView.editable.of(false)] : [],
    ours,
  ];
}

/** A character that is not seen, or turns others around, as an escape. */
function hidden(code) {
  const shown = document.createElement("span");
  shown.className = "cm-specialChar";
  shown.textContent = plain(String.fromCodePoint(code));
  return shown;
}

function reachable(view, label) {
  view.scrollDOM.tabIndex = 0;
  view.scrollDOM.setAttribute("role", "region");
  view.scrollDOM.setAttribute("aria-label", label);
}

/** An element with a view of CodeMirror in a shadow root, which is destroyed with the component. */
function useMounted(mount, on) {
  const host = useRef();
  const [error, setError] = useState();
  const [turn, setTurn] = useState(0);
  // Before the next key, if CodeMirror is loaded already: what is typed earlier would be lost.
  useLayoutEffect(() => {
    let view;
    let gone = false;
    const root = host.current.shadowRoot ?? host.current.attachShadow({mode: "open"});
    setError(undefined);
    parts().then((all) => {
      if (!gone) view = mount(all, root);
    }, (caught) => !gone && setError(caught));
    return () => {
      gone = true;
      view?.destroy();
    };
  }, [...on, turn]);
  return html`<div class="editor" ref=${host}></div>${error && html`<${Problem} error=${error} retry=${() => setTurn(turn + 1)} />`}`;
}

/** An editor. `value` is only its first text; `onChange` gets each later one. It takes the focus whenever `focus` becomes true. */
export function Editor({value, label, json = false, check = false, onChange, focus = true}) {
  const told = useRef();
  told.current = onChange;
  const shown = useRef();
  useLayoutEffect(() => {
    if (focus) shown.current?.focus(); // before the next key: what is typed earlier would be lost
  }, [focus]);
  return useMounted(
    (parts, root) => {
      const {cm} = parts;
      const extensions = [
        pane(parts, {label, json, readOnly: false}),
        cm.history(),
        cm.drawSelection(),
        cm.bracketMatching(),
        cm.highlightSelectionMatches(),
        cm.search({top: true}),
        cm.keymap.of([...cm.defaultKeymap, ...cm.historyKeymap, ...cm.searchKeymap]),
        json && check ? [cm.linter(cm.jsonParseLinter()), cm.lintGutter()] : [],
        cm.EditorView.updateListener.of((update) => update.docChanged && told.current(update.state.doc.toString())),
      ];
      const state = cm.EditorState.create({doc: value, extensions: [cm.EditorState.lineSeparator.of("\n"), extensions]});
      const view = new cm.EditorView({state, parent: root, root});
      if (focus) view.focus();
      shown.current = view;
      return view;
    },
    [json, check],
  );
}

/** A read-only text with line numbers. */
export function Reader({value, label, json = false}) {
  return useMounted(
    (parts, root) => {
      const doc = parts.cm.EditorState.create({doc: value, extensions: pane(parts, {label, json, readOnly: true})});
      const view = new parts.cm.EditorView({state: doc, parent: root, root});
      reachable(view, label);
      return view;
    },
    [value, json],
  );
}

/** Whether the screen is too narrow for two panes side by side. */
export const narrow = matchMedia("(max-width: 48rem)");

/** The difference of two texts: the old one on the left, or on a narrow screen above. */
export function Difference({before, after, labels = ["Before", "After"], json = false}) {
  const unified = narrow.matches;
  const view = useMounted(
    (parts, root) => {
      const {EditorView, EditorState, MergeView, unifiedMergeView} = parts.cm;
      const collapseUnchanged = {margin: 3, minSize: 6};
      const side = (doc, label) => ({doc, extensions: pane(parts, {label, json, readOnly: true})});
      if (unified) {
        const extensions = [
          pane(parts, {label: labels.join(" and "), json, readOnly: true}),
          unifiedMergeView({original: before, mergeControls: false, collapseUnchanged}),
        ];
        const view = new EditorView({state: EditorState.create({doc: after, extensions}), parent: root, root});
        reachable(view, labels.join(" and "));
        return view;
      }
      const [a, b] = [side(before, labels[0]), side(after, labels[1])];
      const merge = new MergeView({a, b, parent: root, root, collapseUnchanged, gutter: true});
      reachable(merge.a, labels[0]);
      reachable(merge.b, labels[1]);
      return merge;
    },
    [before, after, json, labels.join(), settings.value.theme],
  );
  return html`<div class="difference">
    <div class=${`labels ${unified ? "stacked" : ""}`}><span>${unified && "− "}${labels[0]}</span><span>${unified && "+ "}${labels[1]}</span></div>
    ${view}
    ${before === after && html`<p class="quiet">There is no difference.</p>`}
  </div>`;
}
