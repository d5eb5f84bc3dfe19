/** The choice of a folder, when there are more names than a page can have in memory. */

import {html, useRef, useState} from "../vendor/preact.js";
import {choose, tree} from "../lib/scope.js";
import {login, token} from "../lib/session.js";
import {settings} from "../lib/settings.js";
import {count, Text} from "../lib/text.js";
import {Button, Field, Problem, useLoaded} from "../lib/ui.js";
import {Login} from "./login.js";

/** `done` is called when a folder was chosen. */
export function Scope({token: first, done}) {
  const [prefix, setPrefix] = useState("");
  const [text, setText] = useState("");
  const held = useRef(first);
  const load = () => tree(held.current, prefix).catch(async (error) => {
    if (error.code !== 401) throw error;
    held.current = await token(); // the first one has ended meanwhile
    return tree(held.current, prefix);
  });
  const {value, error, again} = useLoaded(load, [prefix]);
  const {held: most, delimiter} = settings.value;
  const open = (path) => (choose(path), done());
  const folders = (value?.children ?? []).filter((child) => child.count).map((child) => ({path: child.name + delimiter, number: child.count}));
  return html`<main class="choose"><article class="screen">
    <h1>Which configurations?</h1>
    <p class="quiet">There are ${value ? count(value.count) : "many"} below ${prefix ? html`<${Text} of=${prefix} mono />` : "the top"}, and a page holds ${count(most)}. Choose a folder; you can choose another later.</p>
    <form class="narrow-form stack" onSubmit=${(event) => (event.preventDefault(), setPrefix(text))}>
      <${Field} label="Names that begin with" value=${text} onInput=${setText} class="mono" hint="For names that are in no folder, or in one that is too large." />
      <div class="row-of"><${Button} type="submit">Look<//></div>
    </form>
    ${error && html`<${Problem} error=${error} retry=${again} />`}
    <div class="row-of">
      ${prefix && html`<${Button} onClick=${() => setPrefix("")}>Back to the top<//>`}
      ${prefix && value?.count <= most && html`<${Button} kind="primary" onClick=${() => open(prefix)}>Open all of this<//>`}
    </div>
    <ul class="cards">${folders.map(({path, number}) => html`<li class="card" key=${path}>
      <span class="grow"><${Text} of=${path} mono /> <span class="quiet">${count(number)}</span></span>
      <${Button} kind="small" onClick=${() => setPrefix(path)}>Look inside<//>
      ${number <= most && html`<${Button} kind="small primary" onClick=${() => open(path)}>Open<//>`}
    </li>`)}</ul>
  </article></main>${login.value.wanted && html`<${Login} />`}`;
}
