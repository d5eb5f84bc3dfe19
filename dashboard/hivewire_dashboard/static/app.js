/** The start of the page: the shell if the user is logged in already, otherwise the login. */

import {html, render} from "./vendor/preact.js";
import {tooMany} from "./lib/scope.js";
import {login, token} from "./lib/session.js";
import {Login} from "./screens/login.js";

const First = () => login.value.wanted && html`<${Login} />`;

async function begin() {
  render(html`<${First} />`, document.body);
  const first = await token();
  if (await tooMany(first)) {
    const {Scope} = await import("./screens/scope.js");
    render(html`<${Scope} token=${first} />`, document.body);
    return;
  }
  const {Shell} = await import("./shell.js");
  render(html`<${Shell} />`, document.body);
}

begin().catch((error) => {
  document.body.textContent = `The gateway does not answer: ${error.message}. Reload this page to try again.`;
});
