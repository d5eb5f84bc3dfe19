/** Lines to copy, which read and write one configuration in a terminal and in programs. */

import {html, useEffect} from "../vendor/preact.js";
import {reached} from "../lib/start.js";
import {quoted} from "../lib/text.js";
import {Copied} from "../lib/ui.js";

export function Lines({name, layer, entry}) {
  useEffect(() => reached("lines"), []);
  const root = new URL("..", location.href.replace(/#.*/, "")).href.replace(/\/$/, "");
  const text = JSON.stringify(name);
  const path = `${root}/api/rest/configuration/${encodeURIComponent(name)}`;
  const expect = entry?.version ?? 0;
  if (layer !== undefined) {
    const there = `${root}/api/rest/layer/${encodeURIComponent(layer)}/configuration/${encodeURIComponent(name)}`;
    return html`<div class="stack lines">
      <${Copied} label="Terminal: read it, and write it" text=${`hivewire get --layer ${quoted(layer)} -- ${quoted(name)}\nhivewire put --layer ${quoted(layer)} -- ${quoted(name)} VALUE`} />
      <${Copied} label="curl" text=${`curl -H "Authorization: Bearer $TOKEN" ${quoted(there)}`} />
      <${Copied} label="Python: write it, unless somebody else has meanwhile" text=${`await hw.call("configuration/put", name=${text}, layer=${JSON.stringify(layer)}, value=value, entityVersion=${expect})`} />
    </div>`;
  }
  return html`<div class="stack lines">
    <${Copied} label="Terminal: read it, and follow it" text=${`hivewire get -- ${quoted(name)}\nhivewire watch -- ${quoted(name)}`} />
    <${Copied} label="curl" text=${`curl -H "Authorization: Bearer $TOKEN" ${quoted(path)}`} />
    <${Copied} label="Python: read it, and be told of changes" text=${`async with Hivewire("${root}", token=token, names=[${text}]) as hw:\n    await hw.ready()\n    print(hw.get(${text}))\n    hw.on_change(${text}, print)`} />
    <${Copied} label="Python: write it, unless somebody else has meanwhile" text=${`await hw.put(${text}, value, expect=${expect})`} />
    <${Copied} label="JavaScript: read it, and be told of changes" text=${`const hw = new Hivewire("${root}", {token, names: [${text}]});\nawait hw.ready();\nhw.store(${text}).subscribe(console.log);`} />
    <${Copied} label="JavaScript: write it, unless somebody else has meanwhile" text=${`await hw.put(${text}, value, {expect: ${expect}});`} />
  </div>`;
}
