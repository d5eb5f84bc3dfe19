/** The metrics of the gateway over the last ten minutes, read every two seconds while a component shows them. */

import {signal, useEffect} from "../vendor/preact.js";
import {PATIENCE} from "./session.js";

const APART = 2_000;
const KEPT = 300;

/** The charts: a title, a unit, and for each line a function of two readings that are `seconds` apart. */
export const CHARTS = [
  {title: "Requests", unit: "a second", lines: {Answered: rate("hivewire_requests_total"), Refused: rate("hivewire_requests_total", (labels) => !/code="2/.test(labels))}},
  {title: "Changes", unit: "a second", lines: {Changes: rate("hivewire_batch_changes_sum"), Commits: rate("hivewire_commit_seconds_count")}},
  {title: "Time of a commit", unit: "ms", lines: {"Half are faster": quantile(0.5), "99 of 100 are faster": quantile(0.99)}},
  {title: "Pushes", unit: "a second", lines: {Pushes: rate("hivewire_pushes")}},
  {title: "Connections", unit: "", lines: {Connections: gauge("hivewire_connections"), Sockets: gauge("hivewire_sockets"), Subscriptions: gauge("hivewire_subscriptions")}},
  {title: "Not read yet", unit: "KiB", lines: {Answers: gauge("hivewire_unread_bytes", 1024)}},
];

/** Times in seconds, and the values of each line. */
export const readings = signal({times: [], charts: CHARTS.map(({lines}) => Object.keys(lines).map(() => []))});
export const problem = signal(undefined);

/** The samples in a text of Prometheus: by name, pairs of labels and value. */
function samples(page) {
  const found = new Map();
  for (const [, name, labels = "", value] of page.matchAll(/^(\w+)(?:\{(.*)\})? (\S+)$/gm)) {
    const list = found.get(name) ?? [];
    list.push([labels, Number(value)]);
    found.set(name, list);
  }
  return found;
}

function total(found, name, counts = () => true) {
  return (found.get(name) ?? []).reduce((sum, [labels, value]) => (counts(labels) ? sum + value : sum), 0);
}

function rate(name, counts) {
  return (before, now, seconds) => Math.max(0, total(now, name, counts) - total(before, name, counts)) / seconds;
}

function gauge(name, unit = 1) {
  return (before, now) => total(now, name) / unit;
}

/** A quantile of the commits since the last reading, as the upper bound of its bucket; null without commits. */
function quantile(part) {
  const name = "hivewire_commit_seconds_bucket";
  return (before, now) => {
    const buckets = (now.get(name) ?? []).map(([labels, value], index) => [Number(/le="([^"]+)"/.exec(labels)[1]), value - (before.get(name)?.[index]?.[1] ?? 0)]);
    const all = buckets.at(-1)?.[1] ?? 0;
    const found = all > 0 && buckets.find(([, value]) => value >= all * part);
    return found ? Math.min(found[0] * 1_000 || Infinity, 10_000) : null;
  };
}

let last;
let reading = false;

async function read() {
  if (reading) return; // a gateway that does not answer is not asked again and again
  reading = true;
  try {
    const response = await fetch(new URL("../metrics", location.href.replace(/#.*/, "")), {signal: AbortSignal.timeout(PATIENCE)});
    if (!response.ok) throw new Error(`the metrics are answered with ${response.status}`);
    const now = {at: performance.now(), found: samples(await response.text())};
    if (last) {
      const seconds = (now.at - last.at) / 1_000;
      const {times, charts} = readings.value;
      readings.value = {
        times: [...times, Date.now() / 1_000].slice(-KEPT),
        charts: charts.map((lines, chart) => lines.map((values, line) => [...values, Object.values(CHARTS[chart].lines)[line](last.found, now.found, seconds)].slice(-KEPT))),
      };
    }
    last = now;
    problem.value = undefined;
  } catch (error) {
    problem.value = error;
  } finally {
    reading = false;
  }
}

/** Read the metrics as long as the component is shown. */
export function useReadings() {
  useEffect(() => {
    last = undefined;
    read();
    const timer = setInterval(() => !document.hidden && read(), APART);
    return () => clearInterval(timer);
  }, []);
  return readings.value;
}
