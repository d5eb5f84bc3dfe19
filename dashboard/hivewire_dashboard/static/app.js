/** The start of the page: the shell if the user is logged in already, otherwise the login. */

import {html, render} from "./vendor/preact.js";
import {load} from "./lib/load.js";
import {tooMany} from "./lib/scope.js";
import {login, token} from "./lib/session.js";
import {Login} from "./screens/login.js";

/** Milliseconds after which a start that failed is tried again. */
const PAUSE = 3_000;

/** What index.html shows, too. */
const Waiting = () => html`<p class="late" role="status">The gateway has not answered yet. If this stays, reload the page.</p>`;
const First = () => (login.value.wanted ? html`<${Login} />` : html`<${Waiting} />`);

async function begin() {
  render(html`<${First} />`, document.body);
  const first = await token();
  if (await tooMany(first)) {
    const {Scope} = await load(new URL("screens/scope.js", import.meta.url));
    await new Promise((done) => render(html`<${Scope} token=${first} done=${done} />`, document.body));
  }
  const {Shell} = await load(new URL("shell.js", import.meta.url));
  render(html`<${Shell} />`, document.body);
}

async function start() {
  try {
    await begin();
  } catch (error) {
    render(html`<p role="alert">The gateway does not answer: ${error.message}. It is asked again; reload the page if this stays.</p>`, document.body);
    setTimeout(start, PAUSE);
  }
}

start();
