/** One rollout: its steps and gate, the progress of its devices, and buttons to hold, resume and roll it back. */

import {html, useEffect, useRef, useState} from "../vendor/preact.js";
import {hw} from "../lib/gateway.js";
import {go, to} from "../lib/router.js";
import {may} from "../lib/session.js";
import {described} from "../lib/targets.js";
import {count, lasting, plain, Text, When} from "../lib/text.js";
import {announce, Button, Dialog, Empty, Field, Figures, Problem, tell, useAction, usePolled, useShown} from "../lib/ui.js";
import {Sure, Table} from "./access.js";
import {Chart} from "./chart.js";
import {gated, NewRollout, prepare} from "./new_rollout.js";
import {open, RolloutState} from "./rollouts.js";

/** Interval of asking for state, step and counts together: time alone can change them, too. */
const LOOK = 1_000;
/** Most refusing devices, and most points of the chart, that are shown. */
const MOST = 50;
const KEPT = 600;

export default function Rollout({rest: [number = ""], query}) {
  if (number === "new") return html`<${NewRollout} layer=${query.get("layer") ?? ""} />`;
  return html`<${Existing} number=${Number(number)} />`;
}

async function load(number) {
  const {rollout} = await hw.call("rollout/get", {rollout: number});
  const {refused, silent, waiting} = open(rollout) ? rollout.counts : {};
  const some = async (state) => (await hw.call("fleet/list", {rollout: number, state, take: MOST})).devices;
  return {rollout, refusing: refused ? await some("refused") : [], missing: silent || waiting ? await some("pending") : []};
}

function Existing({number}) {
  const [over, setOver] = useState(false);
  const {value, error, again} = usePolled(() => load(number), [number], over ? undefined : LOOK);
  const rollout = value?.rollout;
  const {times, values} = useReadings(rollout);
  useEffect(() => {
    if (!rollout) return;
    setOver(!open(rollout));
    announce(`Rollout ${number}: ${rollout.state}, step ${rollout.step} of ${rollout.steps.length}`);
  }, [rollout?.state, rollout?.step]);
  if (error?.code === 404 || error?.code === 400) return html`<${Empty} title="There is no such rollout"><p><a href=${to("rollouts")}>All rollouts</a></p><//>`;
  if (!rollout) return error ? html`<${Problem} error=${error} retry=${again} />` : html`<p class="quiet" role="status">Reading…</p>`;
  const {counts, layer, state, reason} = rollout;
  const done = () => (setOver(false), again());
  return html`<article class="screen">
    <nav class="path" aria-label="Above"><a href=${to("rollouts")}>Rollouts</a></nav>
    <header class="title"><h1>Rollout ${number} <${RolloutState} of=${state} /></h1>
      ${may("ManageConfiguration") && html`<${Actions} rollout=${rollout} done=${done} />`}
    </header>
    <p class="facts">Of the layer <a href=${to("layer", layer)}><${Text} of=${layer} mono /></a> · by <${Text} of=${rollout.author ?? "nobody"} /> · ${state === "scheduled" ? html`to start at <${When} time=${rollout.at} full />` : html`since <${When} time=${rollout.since} />`}</p>
    ${error && html`<${Problem} error=${error} retry=${again} />`}
    ${reason && html`<p class="bar">${plain(reason)}</p>`}
    <${Figures} label="Devices" of=${[
      ["Reached", counts.reached], ["Applied", counts.applied, "good"], ["Refused", counts.refused, "bad"],
      ["Silent", counts.silent, "bad"], ["Waiting", counts.waiting], ["Overridden", counts.overridden],
    ]} />
    ${open(rollout) && html`<${Gate} counts=${counts} gate=${rollout.gate} />`}
    <h2>Steps</h2>
    <${Steps} rollout=${rollout} />
    ${value.refusing.length > 0 && html`<h2>Refused</h2><${Refusing} devices=${value.refusing} />`}
    ${value.missing.length > 0 && html`<h2>Waiting, or without an answer</h2><${Missing} devices=${value.missing} />`}
    <h2>New values</h2>
    <${Table} label="New values" head=${["Name", "Value"]}>${rollout.changes.map(({operation, name, value: text}) => html`<tr key=${name}>
      <th scope="row"><${Text} of=${name} mono /></th><td>${operation === "delete" ? "deleted" : text === undefined || text === null ? "not shown" : html`<${Text} of=${text} most=${500} mono />`}</td></tr>`)}<//>
    ${times.length > 1 && html`<div class="charts"><${Chart} title="Devices" unit="since this page was opened" names=${["Reached", "Applied", "Failed"]} times=${times} values=${values} /></div>`}
  </article>`;
}

/** The counts since the page was opened. */
function useReadings(rollout) {
  const kept = useRef({of: undefined, times: [], values: [[], [], []]});
  const readings = kept.current;
  if (rollout && rollout !== readings.of) {
    readings.of = rollout;
    const {reached, applied, refused, silent} = rollout.counts;
    const add = (list, number) => [...list, number].slice(-KEPT);
    readings.times = add(readings.times, Date.now() / 1_000);
    readings.values = [reached, applied, refused + silent].map((number, index) => add(readings.values[index], number));
  }
  return readings;
}

function Gate({counts: {reached, applied, refused, silent, waiting}, gate}) {
  const least = Math.min(gate.minimum, reached + waiting || gate.minimum); // a step may have fewer
  const part = reached ? ` (${count(Math.floor((applied * 1_000) / reached) / 10)} %)` : "";
  return html`<p>${count(applied)} of ${count(reached)} reached devices have applied it${part}; the next step needs ${gate.success} % of at least ${count(least, "device")}${least < gate.minimum && ", all of this step"}, after ${lasting(gate.wait)}.
    ${" "}${count(refused + silent)} failed; up to ${count(gate.failures)} are tolerated in any case. More than that and over ${count(100 - gate.success)} %: it is ${gate.onFailure === "rollback" ? "rolled back" : "held"}.
    ${" "}<span class="quiet">A device without an answer for ${lasting(gate.silent)} is silent; a step that takes ${lasting(gate.limit)} is held.</span></p>`;
}

function Steps({rollout}) {
  const {steps, step, state} = rollout;
  const going = open(rollout);
  const now = state === "completed" ? steps.length + 1 : step;
  return html`<ol class="cards" aria-label="Steps">${steps.map((each, index) => html`<li class="card" key=${index} aria-current=${index + 1 === now ? "step" : undefined}>
    <span class=${`tag ${index + 1 < now ? "new" : index + 1 === now && going ? "changed" : ""}`}>${index + 1 < now ? "done" : index + 1 > now ? (going ? "later" : "never") : going ? "now" : "ended"}</span>
    <span class="grow"><${Text} of=${described(each)} words />${each.gate && html` <span class="quiet">${gated(each.gate)}</span>`}</span>
  </li>`)}</ol>`;
}

function Refusing({devices}) {
  return html`<${Table} label="Devices that have refused" head=${["Device", "Why"]}>${devices.map(({deviceId, errors}) => html`<tr key=${deviceId}>
    <th scope="row"><a href=${to("device", deviceId)}><${Text} of=${deviceId} mono /></a></th>
    <td>${Object.entries(errors).map(([name, error]) => html`<div><${Text} of=${name} mono />: <${Text} of=${error} /></div>`)}</td></tr>`)}<//>
    ${devices.length === MOST && html`<p class="quiet">The first ${MOST} are shown.</p>`}`;
}

/** Those that are silent, those that have time yet, and those that are waited for. */
function Missing({devices}) {
  return html`<${Table} label="Waiting, or without an answer" head=${["Device", "Why"]}>${devices.map(({deviceId, online}) => html`<tr key=${deviceId}>
    <th scope="row"><a href=${to("device", deviceId)}><${Text} of=${deviceId} mono /></a></th><td>${online ? "has not answered yet" : "waits until the device follows its configuration"}</td></tr>`)}<//>
    ${devices.length === MOST && html`<p class="quiet">The first ${MOST} are shown.</p>`}`;
}

/** What its state allows. */
function Actions({rollout, done}) {
  const [dialog, setDialog] = useState();
  const {rollout: number, state, layer} = rollout;
  const close = () => setDialog();
  const lead = useShown((changes) => (prepare(changes, number), go(to("rollout", "new", {layer}))));
  const [hold, busy, failed] = useAction(async () => {
    await hw.call("rollout/hold", {rollout: number});
    tell(`Rollout ${number} is held.`);
    done();
  });
  const [undo, asking, refused] = useAction(async () => {
    try {
      await hw.call("rollout/rollback", {rollout: number});
    } catch (error) {
      if (!error.reply?.changes) throw error;
      lead(error.reply.changes);
    }
  });
  const back = async () => {
    await hw.call("rollout/rollback", {rollout: number});
    tell(`Rollout ${number} is rolled back.`);
    done();
  };
  return html`<div class="row-of">
    ${state === "running" && html`<${Button} busy=${busy} onClick=${hold}>Hold<//>`}
    ${state === "held" && html`<${Button} kind="primary" onClick=${() => setDialog("resume")}>Resume…<//>`}
    ${open(rollout) && html`<${Button} kind="danger" onClick=${() => setDialog("back")}>Roll back…<//>`}
    ${state === "completed" && html`<${Button} busy=${asking} onClick=${undo}>Undo with a new rollout…<//>`}
    ${(failed ?? refused) && html`<${Problem} error=${failed ?? refused} />`}
    ${dialog === "resume" && state === "held" && html`<${Resume} rollout=${rollout} done=${done} close=${close} />`}
    ${dialog === "back" && open(rollout) && html`<${Sure} title="Roll this back?" word="Roll back" close=${close} run=${back}>
      <p>Its devices get back what the layer <${Text} of=${layer} mono /> says. Nothing was written, so the layer stays as it is.</p><//>`}
  </div>`;
}

function Resume({rollout: {rollout: number, step, steps}, done, close}) {
  const [chosen, setChosen] = useState("");
  const shut = useShown(close);
  const [resume, busy, error] = useAction(async () => {
    await hw.call("rollout/resume", {rollout: number, step: chosen ? Number(chosen) : undefined});
    shut();
    tell(`Rollout ${number} goes on.`);
    done();
  });
  return html`<${Dialog} title="Resume this rollout?" close=${close}
    actions=${html`<${Button} onClick=${close}>Cancel<//><${Button} kind="primary" busy=${busy} onClick=${resume}>Resume<//>`}>
    <div class="stack">
      <p>Failures so far are forgiven; new ones count.</p>
      <${Field} as="select" label="Go on with" value=${chosen} onInput=${setChosen}>
        <option value="">step ${step}, as it is</option>
        ${steps.map((each, index) => index + 1 > step && html`<option value=${String(index + 1)}>step ${index + 1}, without the gates before it: ${plain(described(each))}</option>`)}
      <//>
      ${error && html`<${Problem} error=${error} />`}
    </div>
  <//>`;
}
