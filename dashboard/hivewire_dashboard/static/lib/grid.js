/** A table of any length: only the visible rows are in the document, and Tab reaches one of them. */

import {html, useLayoutEffect, useRef, useState} from "../vendor/preact.js";
import {pressed} from "./keys.js";
import {go} from "./router.js";

/** Rows in the document above and below the visible ones. */
const BEYOND = 4;
/** The most rows in the document. */
const MOST = 45;

function rowHeight() {
  const style = getComputedStyle(document.documentElement);
  return parseFloat(style.getPropertyValue("--row")) * parseFloat(style.fontSize);
}

/**
 * `count` rows; `at(index)` gives the key of one, `find(key)` its index or -1, `row(key)` its `{cells, class}`.
 * Enter and a click lead to `to(key)`, which a click with Ctrl or the middle button opens in another tab; `keys` are further
 * keys of a row, by name.
 *
 * @param {{label: string, columns: {label: string, class: string}[], count: number, at: (index: number) => string,
 *   find: (key: string) => number, row: (key: string) => {cells: any[], class?: string}, to: (key: string) => string,
 *   keys?: Record<string, (key: string) => void>, state: {focus?: string, top?: number}}} props
 */
export function Grid({label, columns, count, at, find, row, to, keys = {}, state, narrow = ""}) {
  const scroller = useRef();
  const [view, setView] = useState({top: state.top ?? 0, height: 600});
  const [focus, setFocus] = useState(state.focus);
  const wanted = useRef(false);
  const last = useRef(-1);
  const height = rowHeight();
  const focused = focus === undefined ? -1 : find(focus);

  // The focused row keeps its place on the screen when rows are added or removed above it.
  useLayoutEffect(() => {
    const element = scroller.current;
    const moved = focused >= 0 && last.current >= 0 ? focused - last.current : 0;
    if (moved && element.contains(document.activeElement)) element.scrollTop += moved * height;
    last.current = focused;
    if (wanted.current) {
      wanted.current = false;
      element.querySelector("[role=row][tabindex='0']")?.focus({preventScroll: true});
    }
  });

  useLayoutEffect(() => {
    const element = scroller.current;
    element.scrollTop = state.top ?? 0;
    const look = () => {
      state.top = element.scrollTop;
      setView({top: element.scrollTop, height: element.clientHeight});
    };
    const observer = new ResizeObserver(look);
    observer.observe(element);
    element.addEventListener("scroll", look, {passive: true});
    return () => observer.disconnect();
  }, []);

  const choose = (index, andFocus = true) => {
    const next = Math.max(0, Math.min(count - 1, index));
    const key = at(next);
    const element = scroller.current;
    if (next * height < element.scrollTop) element.scrollTop = next * height;
    else if ((next + 1) * height > element.scrollTop + element.clientHeight)
      element.scrollTop = (next + 1) * height - element.clientHeight;
    state.focus = key;
    wanted.current = andFocus;
    last.current = next;
    setFocus(key);
    setView({top: element.scrollTop, height: element.clientHeight});
  };

  const page = Math.max(1, Math.floor(view.height / height) - 1);
  const current = Math.max(focused, 0);
  const moves = {
    ArrowDown: () => focused + 1, j: () => focused + 1, ArrowUp: () => focused - 1, k: () => focused - 1,
    PageDown: () => current + page, PageUp: () => current - page, Home: () => 0, End: () => count - 1,
  };
  const lead = ({target, button, ctrlKey, metaKey}, id) => {
    if (target.closest("input, button, a")) return;
    if (button || ctrlKey || metaKey) open(to(id), "_blank", "noopener");
    else go(to(id));
  };
  const key = (event) => {
    if (event.target.closest("input, button, a")) return;
    const name = pressed(event);
    if (moves[name]) choose(moves[name]());
    else if (focused >= 0 && name === "Enter") go(to(focus));
    else if (focused >= 0 && keys[name]) keys[name](focus);
    else return;
    event.preventDefault();
    event.stopPropagation();
  };

  const first = Math.max(0, Math.floor(view.top / height) - BEYOND);
  const end = Math.min(count, first + Math.min(MOST, Math.ceil(view.height / height) + 2 * BEYOND));
  const indexes = [];
  for (let index = first; index < end; index++) indexes.push(index);
  const inOrder = focused >= 0 ? focused : first;
  if (count && (inOrder < first || inOrder >= end)) indexes.push(inOrder);

  return html`<div class=${`grid ${narrow}`} role="grid" aria-label=${label} aria-rowcount=${count + 1} onKeyDown=${key}>
    <div class="head" role="row" aria-rowindex="1">
      ${columns.map((column) => html`<div role="columnheader" class=${column.class}>${column.label}</div>`)}
    </div>
    <div class="rows" role="rowgroup" ref=${scroller} tabindex=${count ? undefined : 0}>
      <div class="length" role="presentation" style=${{height: `${count * height}px`}}>
        ${indexes.map((index) => {
          const id = at(index);
          const {cells, class: kind = ""} = row(id);
          return html`<div key=${id} role="row" aria-rowindex=${index + 2} class=${`row ${kind}`}
            tabindex=${index === inOrder ? 0 : -1} style=${{transform: `translateY(${index * height}px)`}}
            onFocus=${() => index !== focused && choose(index, false)}
            onClick=${(event) => lead(event, id)} onAuxClick=${(event) => event.button === 1 && lead(event, id)}>
            ${cells.map((cell, n) => html`<div role="gridcell" class=${columns[n].class}>${cell}</div>`)}
          </div>`;
        })}
      </div>
    </div>
  </div>`;
}
