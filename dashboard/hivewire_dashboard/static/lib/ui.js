/** The parts that screens are made of. */

import {effect, html, signal, useEffect, useId, useLayoutEffect, useMemo, useRef, useState} from "../vendor/preact.js";
import {route} from "./router.js";
import {clock, count, plain} from "./text.js";

const ICONS = {
  values: "M3 4h10M3 8h10M3 12h6",
  changes: "M8 3v5l3 2M14 8A6 6 0 1 1 8 2",
  basket: "M2 6h12l-1.5 7h-9zM5 6l2-4M11 6L9 2",
  transfer: "M5 14V3m0 0L2 6m3-3l3 3M11 2v11m0 0l3-3m-3 3l-3-3",
  devices: "M2 3h12v8H2zM6 14h4M8 11v3",
  people: "M6 8a3 3 0 1 0 0-6 3 3 0 0 0 0 6zM1 14c0-3 2-4.5 5-4.5s5 1.5 5 4.5M11 2.5a3 3 0 0 1 0 5.5M12.5 9.7c1.7.6 2.5 2 2.5 4.3",
  tenant: "M3 14V2h7v12M10 6h3v8M1 14h14M5 5h2M5 8h2M5 11h2",
  live: "M1 8h3l2-5 4 10 2-5h3",
  api: "M5 4L1 8l4 4M11 4l4 4-4 4",
  menu: "M2 4h12M2 8h12M2 12h12",
  close: "M3 3l10 10M13 3L3 13",
  folder: "M2 13V3h4l2 2h6v8z",
  open: "M6 3l5 5-5 5",
  copy: "M5 5h8v9H5zM3 11V2h8",
  fleet: "M8 2l2 2-2 2-2-2zM3 10l2 2-2 2-2-2zM13 10l2 2-2 2-2-2zM8 6v3M4 11l4-2 4 2",
  layers: "M8 2l6 3-6 3-6-3zM2 8l6 3 6-3M2 11l6 3 6-3",
  rollouts: "M2 13h3v-3H2zM6.5 13h3V7h-3zM11 13h3V3h-3z",
  schemas: "M5 2H3v5L2 8l1 1v5h2M11 2h2v5l1 1-1 1v5h-2",
  settings: "M2 5h6M12 5h2M2 11h2M8 11h6M10 3v4M6 9v4",
};

/** An icon next to words that say the same. */
export function Icon({name}) {
  return html`<svg class="icon" viewBox="0 0 16 16" aria-hidden="true"><path d=${ICONS[name]} /></svg>`;
}

export function Button({kind = "", busy = false, icon, children, ...rest}) {
  return html`<button type="button" class=${`button ${kind}`} aria-disabled=${busy ? "true" : undefined} ...${rest}>
    ${icon && html`<${Icon} name=${icon} />`}${children}
  </button>`;
}

/** A labelled input. Screen readers read `hint` with it; `wrong` is the error. Enter calls `onEnter`. */
export function Field({label, hint, wrong, type = "text", value, onInput, onEnter, as = "input", autofocus, children, ...rest}) {
  const id = useId();
  const control = useRef();
  // Before the next key. In a dialog, which is not open yet, its attribute counts.
  useLayoutEffect(() => {
    if (autofocus) control.current.focus();
  }, []);
  const described = [hint && `${id}-hint`, wrong && `${id}-wrong`].filter(Boolean).join(" ") || undefined;
  const entered = (event) => event.key === "Enter" && !event.ctrlKey && !event.metaKey && !event.isComposing && onEnter?.();
  const shared = {id, ref: control, value, onInput: (event) => onInput?.(event.currentTarget.value), onKeyDown: entered, autofocus, ...rest};
  const element =
    as === "select"
      ? html`<select ...${shared} aria-describedby=${described}>${children}</select>`
      : as === "textarea"
        ? html`<textarea ...${shared} aria-describedby=${described} aria-invalid=${wrong ? "true" : undefined}></textarea>`
        : html`<input type=${type} ...${shared} aria-describedby=${described} aria-invalid=${wrong ? "true" : undefined} />`;
  return html`<div class="field">
    <label for=${id}>${label}</label>
    ${element}
    ${hint && html`<p class="hint" id=${`${id}-hint`}>${hint}</p>`}
    ${wrong && html`<p class="wrong" id=${`${id}-wrong`}>${wrong}</p>`}
  </div>`;
}

/** A modal dialog. Escape and its close button call `close`; the focus returns to where it was. */
export function Dialog({title, close, wide = false, children, actions}) {
  const dialog = useRef();
  const id = useId();
  useLayoutEffect(() => {
    const before = document.activeElement;
    const element = dialog.current;
    element.showModal();
    return () => {
      element.close();
      if (before?.isConnected) before.focus({preventScroll: true});
    };
  }, []);
  const cancel = (event) => {
    if (event.target !== dialog.current) return;
    event.preventDefault();
    close?.();
  };
  // At the second Escape in a row browsers close it all the same.
  const closed = (event) => event.target === dialog.current && !dialog.current.open && (close ?? reopen)();
  const reopen = () => dialog.current.showModal();
  return html`<dialog ref=${dialog} class=${wide ? "wide" : undefined} aria-labelledby=${id} onCancel=${cancel} onClose=${closed}>
    <header>
      <h2 id=${id}>${title}</h2>
      ${close && html`<button type="button" class="plain square" aria-label="Close" onClick=${close}><${Icon} name="close" /></button>`}
    </header>
    <div class="content">${children}</div>
    ${actions && html`<footer>${actions}</footer>`}
  </dialog>`;
}

/** An error in the words of the gateway, and what to do about it. */
export function Problem({error, retry}) {
  const code = error.code ? ` (${error.code})` : "";
  return html`<div class="problem" role="alert">
    <p><strong>${headline(error)}</strong> ${plain(error.message)}${code}</p>
    ${retry && html`<${Button} onClick=${retry}>Try again<//>`}
  </div>`;
}

function headline({name, code}) {
  if (name === "Uncertain") return "The answer was lost: it may have been written.";
  if (name === "NotLoaded") return "A part of the page could not be loaded. If trying again does not help, reload the page.";
  if (code === 403) return "You may not do this.";
  if (code === 503) return "The gateway cannot do this now.";
  if (code === 429) return "Too many requests.";
  return "This did not work.";
}

/** An empty list: why it is empty, and how to fill it. */
export function Empty({title, children}) {
  return html`<div class="empty"><h2>${title}</h2>${children}</div>`;
}

/** A few numbers, each a list of label, number, and perhaps a kind (`good`, `care`, `bad`) and a link. */
export function Figures({label, of, chosen}) {
  return html`<dl class="figures" aria-label=${label}>
    ${of.map(([name, number, kind = "", href]) => html`<div class=${number ? kind : ""}><dt>${name}</dt>
      <dd>${href ? html`<a href=${href} aria-label=${`${name}: ${count(number)}`} aria-current=${chosen === href ? "true" : undefined}>${count(number)}</a>` : count(number)}</dd></div>`)}
  </dl>`;
}

/** A line for a terminal or a program, with a button to copy it. */
export function Copied({label, text}) {
  const [done, setDone] = useState();
  const shown = useRef();
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(text);
      setDone(text);
      announce(`Copied: ${label}`);
    } catch {
      // Without TLS, or without permission, there is no clipboard.
      getSelection().selectAllChildren(shown.current);
      announce(`Selected: ${label}. Copy it with a key.`);
    }
  };
  return html`<figure class="copied">
    <figcaption>${label}</figcaption>
    <pre tabindex="0" aria-label=${label}><code ref=${shown}>${text}</code></pre>
    <${Button} kind="small" icon="copy" onClick=${copy}>${done === text ? "Copied" : "Copy"}<//>
  </figure>`;
}

/** A placeholder for something that the login has no right to see. */
export function Barred({right, children}) {
  return html`<${Empty} title="You may not see this">
    <p>This login has not the right <code>${right}</code>. ${children}</p>
  <//>`;
}

/** Tabs as links; the address has the chosen one. */
export function Tabs({label, chosen, tabs}) {
  return html`<nav class="tabs" aria-label=${label}>
    ${tabs.map(([key, text, href]) => html`<a href=${href} aria-current=${key === chosen ? "page" : undefined}>${text}</a>`)}
  </nav>`;
}

// Announcements for screen readers: one polite live region, at most one sentence in five seconds.

const spoken = signal("");
let next = "";
let timer;

export function announce(text) {
  next = text;
  timer ??= setTimeout(() => {
    spoken.value = next;
    timer = setTimeout(() => (timer = next === spoken.value ? undefined : void announceAgain()), 5_000);
  }, 50);
}

function announceAgain() {
  timer = undefined;
  announce(next);
}

// The notice about the last action, with an undo. It stays until it is closed or replaced, or the screen is left.

export const notice = signal(undefined);
const screen = () => location.hash.split("?")[0];
effect(() => {
  void route.value;
  if (notice.peek() && notice.peek().of !== screen()) notice.value = undefined;
});

/**
 * Show a notice on the current screen, or on the one that `go` was called for. `action` is `{label, run}` or `{label,
 * href}`; `version` is the version that the notice is about; `wrong` marks a failure. Stored text may be in `text` as it is.
 */
export function tell(text, action, {version, wrong} = {}) {
  notice.value = {text: plain(text), action, version, wrong, of: screen()};
}

/** The action that undoes the last one. `work` returns the text of the next notice; if it fails, the notice links to `history`. */
export function undoing(work, history) {
  const run = async () => {
    notice.value = {...notice.peek(), text: "Undoing…", action: undefined}; // once
    try {
      tell(await work());
    } catch (error) {
      const known = error.name === "Uncertain" ? "It may have been undone or not" : "It could not be undone";
      tell(`${known}: ${error.message}`, {label: "History", href: history}, {wrong: true});
    }
  };
  return {label: "Undo", run};
}

export function Notices() {
  const {text, action, wrong} = notice.value ?? {};
  const box = useRef();
  useEffect(() => {
    // The focused element was removed: a dialog, an editor, the button of the notice before.
    if (text && document.activeElement === document.body) box.current.focus();
  }, [notice.value]);
  return html`<div class="notices">
    <div role="status" ref=${box} tabindex="-1" class=${text ? `notice ${wrong ? "wrong" : ""}` : ""}>
      ${text && html`<p>${text}</p>`}
      ${action?.href && html`<a class="button small" href=${action.href}>${action.label}</a>`}
      ${action?.run && html`<${Button} kind="small" onClick=${action.run}>${action.label}<//>`}
      ${text && html`<button type="button" class="plain square" aria-label="Close this message" onClick=${() => (notice.value = undefined)}><${Icon} name="close" /></button>`}
    </div>
    <div class="unseen" aria-live="polite">${spoken.value}</div>
  </div>`;
}

/**
 * The result of a promise: `{value, error, loading, again}`; loaded again when one of `on` changes. What is there stays
 * until the next answer, and so does an error when the same is asked again: nothing comes and goes meanwhile.
 */
export function useLoaded(load, on) {
  const [state, setState] = useState({loading: true});
  const [turn, setTurn] = useState(0);
  const last = useRef(turn);
  useEffect(() => {
    let current = true;
    const same = last.current !== turn;
    last.current = turn;
    setState((before) => ({...before, loading: true, error: same ? before.error : undefined}));
    load().then(
      (value) => current && setState({value, loading: false}),
      (error) => current && setState((before) => ({...before, error, loading: false})),
    );
    return () => (current = false);
  }, [...on, turn]);
  const again = useMemo(() => () => setTurn((before) => before + 1), []);
  return {...state, again};
}

/** The same, loaded again when `version` has changed: once the answer before has come, which may take longer than until the next one. */
export function useRenewed(load, on, version) {
  const found = useLoaded(load, on);
  const last = useRef(version);
  useEffect(() => {
    if (found.loading || last.current === version) return;
    last.current = version;
    found.again();
  }, [version, found.loading]);
  return found;
}

/** The same, loaded again every `apart` milliseconds while the page is visible; without `apart`, only once. */
export function usePolled(load, on, apart) {
  const found = useLoaded(load, on);
  const last = useRef();
  last.current = found;
  useEffect(() => {
    if (!apart) return undefined;
    const timer = setInterval(() => !document.hidden && !last.current.loading && last.current.again(), apart);
    return () => clearInterval(timer);
  }, [apart]);
  return found;
}

/**
 * The index of the chosen one of changes, newest first, and a function that chooses another index: the second one at
 * first. The choice is a revision, because a new change moves all others. It is made before the browser paints, or a key
 * that comes right after would be overruled.
 */
export function useChosen(changes) {
  const [revision, setRevision] = useState();
  const known = changes?.findIndex((each) => each.revision === revision) ?? -1;
  const at = known < 0 ? Math.min(1, (changes?.length ?? 1) - 1) : known;
  const choose = (index) => setRevision(changes[index].revision);
  useLayoutEffect(() => {
    if (changes?.length && known < 0) choose(at);
  }, [changes]);
  return [at, choose];
}

/** An action of a button that runs once at a time: `[run, busy, error]`. */
export function useAction(work) {
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState();
  const run = async (...given) => {
    if (busy) return undefined;
    setBusy(true);
    setError(undefined);
    try {
      return await work(...given);
    } catch (caught) {
      setError(caught);
      return undefined;
    } finally {
      setBusy(false);
    }
  };
  return [run, busy, error, () => setError(undefined)];
}

/** `work` while the component is shown, and nothing afterwards: for what ends when its dialog is closed, or another screen is shown. */
export function useShown(work) {
  const shown = useRef(true);
  useLayoutEffect(() => () => (shown.current = false), []);
  return (...given) => (shown.current ? work(...given) : undefined);
}

/** Seconds until a time, counted down while it is shown; 0 when it has passed. */
export function secondsUntil(time) {
  return Math.max(0, Math.ceil((time - clock.value) / 1000));
}
