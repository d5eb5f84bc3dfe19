/** Up to three lines over time, with a table of the same values. */

import {html} from "../vendor/preact.js";
import {count, second} from "../lib/text.js";

/** The classes of the lines. They differ in colour and in their dashes. */
const LINES = ["accent", "good", "quiet"];
/** The shortest range of time, in seconds. */
const SHORTEST = 60;

/** The next number that is 1, 2, 4, 6, 8 or 10 times a power of ten. Its half is a short number, too. */
function rounded(most) {
  const power = 10 ** Math.floor(Math.log10(most || 1));
  return power * [1, 2, 4, 6, 8, 10].find((each) => each * power >= most);
}

/** `values` has a list for each of `names`, with a value for each of `times`, which are in seconds. The line skips null. */
export function Chart({title, unit, names, times, values}) {
  const figures = (number) => (number === null || number === undefined ? "–" : count(Math.round(number * 10) / 10));
  const known = values.map((line) => line.filter((each) => each !== null));
  const most = rounded(Math.max(1, ...known.flat()));
  const end = times.at(-1) ?? Date.now() / 1_000;
  const begin = Math.min(times[0] ?? end, end - SHORTEST);
  const line = (list) => list.map((each, index) => each !== null && `${(((times[index] - begin) / (end - begin)) * 100).toFixed(2)} ${(100 - (each / most) * 100).toFixed(2)}`).filter(Boolean);

  return html`<figure class="panel chart">
    <figcaption><h2>${title} <span class="quiet">${unit}</span></h2></figcaption>
    <div class="plot" role="img" aria-label=${`${title}: ${names.map((name, index) => `${name} ${figures(values[index].at(-1))}`).join(", ")}`}>
      <div class="scale">${[most, most / 2, 0].map((each) => html`<span>${count(each)}</span>`)}</div>
      <svg viewBox="0 0 100 100" preserveAspectRatio="none" aria-hidden="true"><path class="line" d="M0 0H100M0 50H100M0 100H100" />
        ${values.map((list, index) => html`<path class=${LINES[index]} d=${`M${line(list).join("L")}`.replace(/^M$/, "")} />`)}
      </svg>
      <div class="scale"><span>${second(begin * 1_000)}</span><span>${second(end * 1_000)}</span></div>
    </div>
    <table class="small"><tbody>${names.map((name, index) => html`<tr><th scope="row"><span class=${`swatch ${LINES[index]}`}></span>${name}</th>
        <td>now ${figures(values[index].at(-1))}</td><td>most ${known[index].length ? figures(Math.max(...known[index])) : "–"}</td></tr>`)}</tbody></table>
  </figure>`;
}
