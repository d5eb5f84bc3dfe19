// HTTP with Node's `fetch`: standard input has METHOD PATH BODY on each line; printed are the status and body of each.
import { readFileSync } from "node:fs";

const [base, token] = process.argv.slice(2);
for (const line of readFileSync(0, "utf8").replace(/\n$/, "").split("\n")) {
  const [, method, path, body] = line.match(/^(\S+) (\S+) (.*)$/);
  const headers = { Authorization: `Bearer ${token}` };
  if (body) headers["Content-Type"] = "application/json";
  const answer = await fetch(base + path, { method, headers, body: body || undefined });
  console.log(`${answer.status} ${await answer.text()}`);
}
