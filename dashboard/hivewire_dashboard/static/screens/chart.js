/** Up to three lines over time, with a table of the same values. */

import {html, useEffect, useLayoutEffect, useRef} from "../vendor/preact.js";
import Plot from "../vendor/uplot.js";
import {settings} from "../lib/settings.js";
import {count} from "../lib/text.js";

/** The colours of the lines. A canvas cannot use CSS variables. */
const COLOURS = ["accent", "good", "quiet"];

/** `values` has a list for each of `names`, with a value for each of `times`, which are in seconds. */
export function Chart({title, unit, names, times, values}) {
  const host = useRef();
  const plot = useRef();
  const figures = (number) => (number === null || number === undefined ? "–" : count(Math.round(number * 10) / 10));

  useLayoutEffect(() => {
    const element = host.current;
    const colour = (name) => getComputedStyle(element.querySelector(`.${name}`)).color;
    const axis = {stroke: colour("quiet"), grid: {stroke: colour("line"), width: 1}, ticks: {show: false}, font: "12px system-ui"};
    const options = {
      width: element.clientWidth, height: 192, legend: {show: false}, cursor: {show: false},
      scales: {x: {range: (_, low, high) => [Math.min(low, high - 60), high]}, y: {range: (_, low, high) => [0, Math.max(1, high * 1.1)]}},
      axes: [axis, {...axis, size: 48}],
      series: [{}, ...names.map((_, index) => ({stroke: colour(COLOURS[index]), width: 2, spanGaps: true, dash: index === 1 ? [6, 4] : index === 2 ? [2, 3] : undefined}))],
    };
    plot.current = new Plot(options, [times, ...values], element);
    const observer = new ResizeObserver(() => plot.current.setSize({width: element.clientWidth, height: 192}));
    observer.observe(element);
    return () => {
      observer.disconnect();
      plot.current.destroy();
    };
  }, [settings.value.theme]);
  useEffect(() => plot.current.setData([times, ...values]), [times]);

  return html`<figure class="panel chart">
    <figcaption><h2>${title} <span class="quiet">${unit}</span></h2></figcaption>
    <div ref=${host} class="plot" role="img" aria-label=${`${title}: ${names.map((name, index) => `${name} ${figures(values[index].at(-1))}`).join(", ")}`}>
      ${[...COLOURS, "line"].map((name) => html`<span class=${`probe ${name}`}></span>`)}
    </div>
    <table class="small"><tbody>${names.map((name, index) => {
      const known = values[index].filter((each) => each !== null);
      return html`<tr><th scope="row"><span class=${`swatch ${COLOURS[index]}`}></span>${name}</th>
        <td>now ${figures(values[index].at(-1))}</td><td>most ${known.length ? figures(Math.max(...known)) : "–"}</td></tr>`;
    })}</tbody></table>
  </figure>`;
}
