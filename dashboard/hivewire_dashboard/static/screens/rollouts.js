/** All rollouts: new values that show themselves to ever more devices of a layer (fleet.md, 6). */

import {html} from "../vendor/preact.js";
import {hw} from "../lib/gateway.js";
import {refine, to} from "../lib/router.js";
import {may} from "../lib/session.js";
import {count, plain, Text, When} from "../lib/text.js";
import {Copied, Empty, Problem, usePolled} from "../lib/ui.js";
import {Table} from "./access.js";

/** How each state is called, and what it looks like. */
const STATES = {
  scheduled: ["scheduled", ""],
  running: ["running", "new"],
  held: ["held", "changed"],
  completed: ["completed", "new"],
  rolledBack: ["rolled back", ""],
  failed: ["failed", "refused"],
};

export function RolloutState({of}) {
  const [words, kind] = STATES[of] ?? [of, ""];
  return html`<span class=${`tag ${kind}`}>${words}</span>`;
}

/** Whether a device follows its configuration. One that does not may be online all the same, for commands. */
export function Following({online}) {
  return html`<span class=${`tag ${online ? "online" : ""}`}>${online ? "following" : "not following"}</span>`;
}

/** Whether it can still change. */
export const open = ({state}) => ["scheduled", "running", "held"].includes(state);

/** Its counts that are not 0, in a line. */
function numbers({counts}) {
  return Object.entries(counts).filter(([, number]) => number).map(([name, number]) => `${count(number)} ${name}`).join(", ") || "–";
}

export default function Rollouts({query}) {
  const state = query.get("state") ?? "";
  const {value, error, again} = usePolled(async () => (await hw.call("rollout/list", {state: state || undefined, take: 100})).rollouts, [state], 2_000);
  return html`<article class="screen wide">
    <header class="title"><h1>Rollouts</h1>
      <div class="row-of">
        <select aria-label="State" value=${state} onChange=${(event) => refine({state: event.currentTarget.value || undefined})}>
          <option value="">All states</option>
          ${Object.entries(STATES).map(([key, [words]]) => html`<option value=${key}>${words}</option>`)}
        </select>
        ${may("ManageConfiguration") && html`<a class="button primary" href=${to("rollout", "new")}>New</a>`}
      </div>
    </header>
    ${error && html`<${Problem} error=${error} retry=${again} />`}
    ${!value && !error && html`<p class="quiet" role="status">Reading…</p>`}
    ${value?.length === 0 && html`<${Empty} title=${state ? "No rollout is in this state" : "There are no rollouts yet"}>
      <p>A rollout shows new values to some devices of a layer first, and to more while they apply them.</p>
      <${Copied} label="Terminal" text="hivewire rollout start cold-chain baud=9600 --steps 1,10,100" />
    <//>`}
    ${value?.length > 0 && html`<${Table} label="All rollouts" head=${["Rollout", "State", "Step", "Devices", "Since", "By"]}>
      ${value.map((each) => html`<tr key=${each.rollout}>
        <th scope="row"><a href=${to("rollout", String(each.rollout))}>${each.rollout}: <${Text} of=${each.changes.map(({name}) => name).join(", ")} most=${80} mono /></a> <span class="quiet">of <${Text} of=${each.layer} mono /></span></th>
        <td><${RolloutState} of=${each.state} /></td><td>${each.step} of ${each.steps.length}</td>
        <td>${numbers(each)}${each.reason && html`<div class="quiet">${plain(each.reason)}</div>`}</td>
        <td><${When} time=${each.since} /></td><td><${Text} of=${each.author ?? "nobody"} /></td>
      </tr>`)}
    <//>`}
    ${value?.length === 100 && html`<p class="quiet">The newest 100 are shown.</p>`}
  </article>`;
}
