/** The choice of a folder, when there are more names than a page can have in memory. */

import {html, useState} from "../vendor/preact.js";
import {choose, tree} from "../lib/scope.js";
import {settings} from "../lib/settings.js";
import {count, Text} from "../lib/text.js";
import {Button, Problem, useLoaded} from "../lib/ui.js";

export function Scope({token}) {
  const [prefix, setPrefix] = useState("");
  const {value, error, again} = useLoaded(() => tree(token, prefix), [prefix]);
  const {held, delimiter} = settings.value;
  const folders = (value?.children ?? []).filter((child) => child.count).map((child) => ({path: child.name + delimiter, number: child.count}));
  return html`<main class="choose"><article class="screen">
    <h1>Which configurations?</h1>
    <p class="quiet">There are ${value ? count(value.count) : "many"} below ${prefix ? html`<${Text} of=${prefix} mono />` : "the top"}, and a page holds ${count(held)}. Choose a folder; you can choose another later.</p>
    ${error && html`<${Problem} error=${error} retry=${again} />`}
    <div class="row-of">
      ${prefix && html`<${Button} onClick=${() => setPrefix("")}>Back to the top<//>`}
      ${prefix && value?.count <= held && html`<${Button} kind="primary" onClick=${() => choose(prefix)}>Open all of this<//>`}
    </div>
    <ul class="cards">${folders.map(({path, number}) => html`<li class="card" key=${path}>
      <span class="grow"><${Text} of=${path} mono /> <span class="quiet">${count(number)}</span></span>
      <${Button} kind="small" onClick=${() => setPrefix(path)}>Look inside<//>
      ${number <= held && html`<${Button} kind="small primary" onClick=${() => choose(path)}>Open<//>`}
    </li>`)}</ul>
  </article></main>`;
}
