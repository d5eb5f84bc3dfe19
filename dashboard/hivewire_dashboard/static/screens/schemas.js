/** The schemas: which values names may have, and which are secret (fleet.md, 7). */

import {html, useState} from "../vendor/preact.js";
import {hw} from "../lib/gateway.js";
import {to} from "../lib/router.js";
import {may} from "../lib/session.js";
import {count, plain, Text, When} from "../lib/text.js";
import {Copied, Empty, Problem, usePolled} from "../lib/ui.js";
import {Table} from "./access.js";
import {Try} from "./try.js";

/** Interval of asking: changes of schemas are not pushed. */
const LOOK = 5_000;
/** Schemas in one request; each may have 64 KiB. */
const PAGE = 100;
const MOST = 200;

async function all() {
  const found = [];
  for (;;) {
    const {schemas} = await hw.call("schema/list", {take: PAGE, after: found.at(-1)?.names});
    found.push(...schemas);
    if (schemas.length < PAGE) return found;
  }
}

export default function Schemas() {
  const {value, error, again} = usePolled(all, [], LOOK);
  const [text, setText] = useState("");
  const shown = value?.filter(({names}) => names.toLowerCase().includes(text.toLowerCase())) ?? [];
  return html`<article class="screen">
    <header class="title"><h1>Schemas</h1>
      ${may("ManageConfiguration") && html`<a class="button primary" href=${to("schema", "", {new: 1})}>New</a>`}
    </header>
    <p class="quiet">A schema says what the values under a name may be. A wrong one is refused before a program reads it. The schema of the exact name counts; without one that of the longest prefix.</p>
    ${error && html`<${Problem} error=${error} retry=${again} />`}
    <div class="aside">
      <${Try} />
      <section class="stack" aria-label="All schemas">
        ${!value && !error && html`<p class="quiet" role="status">Reading…</p>`}
        ${value?.length === 0 && html`<${Empty} title="There are no schemas yet">
          <p>Without one a name may have any value. Make the first with <strong>New</strong>, or from a terminal:</p>
          <${Copied} label="Terminal: numbers from 0 on" text=${`hivewire schema put 'limits.*' '{"type":"integer","minimum":0}'`} />
          <${Copied} label="Terminal: values that only some may see" text="hivewire schema put 'db.password*' --secret" />
        <//>`}
        ${value?.length > 0 && html`<input type="search" aria-label="Search schemas" placeholder="Name" value=${text} onInput=${(event) => setText(event.currentTarget.value)} />
          <${Table} label="Schemas" head=${["Names", "Values", "Version", "Changed", "By"]}>${shown.slice(0, MOST).map((each) => html`<tr key=${each.names}>
            <th scope="row"><a href=${to("schema", each.names)}><${Text} of=${each.names} mono /></a></th>
            <td>${kinds(each.schema)}${each.secret && html` <span class="tag changed">secret</span>`}</td>
            <td>${each.entityVersion}</td><td><${When} time=${each.modified} /></td><td><${Text} of=${each.modifiedBy ?? "nobody"} /></td>
          </tr>`)}<//>
          ${shown.length > MOST && html`<p class="quiet">${count(MOST)} of ${count(shown.length)} are shown: search for the others.</p>`}`}
      </section>
    </div>
  </article>`;
}

/** The types that a schema allows at its root, in words. */
function kinds(schema) {
  const types = [schema?.type ?? []].flat();
  return schema === null ? "anything" : types.length ? plain(types.join(" or ")) : "as its schema says";
}
