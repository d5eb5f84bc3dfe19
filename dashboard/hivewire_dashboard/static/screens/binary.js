/** A content that is not text: its size, a download and an upload. */

import {html} from "../vendor/preact.js";
import {choosing} from "../lib/files.js";
import {http} from "../lib/gateway.js";
import {may} from "../lib/session.js";
import {plain, size} from "../lib/text.js";
import {Button, Problem, tell, useAction} from "../lib/ui.js";

export function Binary({entry}) {
  const {name, contentType, version, revision} = entry;
  const path = `api/rest/configuration/${encodeURIComponent(name)}/content`;
  const [download, loading, failed] = useAction(async () => {
    const url = URL.createObjectURL(await (await http(path, {}, entry.size)).blob());
    const link = Object.assign(document.createElement("a"), {href: url, download: name.split("/").at(-1)});
    link.click();
    URL.revokeObjectURL(url);
  });
  const [upload, sending, refused] = useAction(async (file) => {
    const headers = {"Content-Type": file.type || contentType, "If-Match": `"${version}-${revision}"`};
    await http(path, {method: "PUT", headers, body: file}, file.size);
    tell(`Saved ${file.name}.`);
  });
  return html`<div class="stack">
    <p>This content is ${plain(contentType ?? "binary")}, ${size(entry.size ?? 0)}. It is not shown here.</p>
    <div class="row-of">
      <${Button} busy=${loading} onClick=${download}>Download<//>
      ${may("ManageConfiguration") && html`<label class="button">${sending ? "Sending…" : "Replace with a file…"}
        <input type="file" class="unseen" onChange=${choosing(upload)} />
      </label>`}
    </div>
    ${(failed ?? refused) && html`<${Problem} error=${failed ?? refused} />`}
  </div>`;
}
