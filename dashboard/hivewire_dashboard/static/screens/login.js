/** The login form, above the page, so that the screen behind it keeps its state. */

import {html, signal, useState} from "../vendor/preact.js";
import {logIn, login, logInWith} from "../lib/session.js";
import {Button, Dialog, Field, secondsUntil, useAction} from "../lib/ui.js";
import {plain} from "../lib/text.js";

const refused = signal(undefined);

export function Login() {
  const [name, setName] = useState("");
  const [password, setPassword] = useState("");
  const [text, setText] = useState("");
  const [enter, busy] = useAction(async () => {
    const problem = await (text ? logInWith(text) : logIn(name, password));
    refused.value = problem && {text: problem.message, until: Date.now() + (problem.wait ?? 0) * 1000};
    if (problem) setPassword("");
  });
  const left = refused.value ? secondsUntil(refused.value.until) : 0;
  const submit = (event) => {
    event.preventDefault();
    if (!left) enter();
  };
  return html`<${Dialog} title="Log in to Hivewire">
    <form class="stack" onSubmit=${submit}>
      <p class="quiet">${login.value.why || location.host}</p>
      <${Field} label="Login" name="username" autocomplete="username" required=${!text} value=${name} onInput=${setName} autofocus />
      <${Field} label="Password" name="password" type="password" autocomplete="current-password" required=${!text} value=${password} onInput=${setPassword} />
      <details><summary>With an access token</summary>
        <${Field} label="Access token" type="password" autocomplete="off" value=${text} onInput=${setText} hint="In place of the login, for who got one with fewer rights. A reload asks for it again." />
      </details>
      <div role="alert">
        ${refused.value && html`<p class="wrong">${plain(refused.value.text)}${left ? ` Try again in ${left} s.` : ""}</p>`}
      </div>
      <${Button} kind="primary" type="submit" busy=${busy || left > 0}>${busy ? "Logging in…" : "Log in"}<//>
    </form>
  <//>`;
}
