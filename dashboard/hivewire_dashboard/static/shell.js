/** The frame around every screen, and the choice of the screen. Loaded after the login. */

import {html, useEffect, useRef, useState} from "./vendor/preact.js";
import {about, me, status} from "./lib/gateway.js";
import {useKeys} from "./lib/keys.js";
import {load} from "./lib/load.js";
import {go, refine, route, to} from "./lib/router.js";
import {logOut, login, may} from "./lib/session.js";
import {hour, moment, plain, Text} from "./lib/text.js";
import {announce, Barred, Button, Icon, Notices, Problem, tell, useLoaded} from "./lib/ui.js";
import {staged} from "./lib/basket.js";
import {guided} from "./lib/start.js";
import {Login} from "./screens/login.js";
import {Preferences} from "./screens/preferences.js";
import {Start} from "./screens/start.js";

/**
 * The screens: the first word of their address, which is also the name of their file unless there is a `file`, their
 * title, and their key after `g`. `keys` only change the address, so they work while the file is still loading.
 */
const SCREENS = [
  {path: "c", needs: "GetConfiguration", label: "Configurations", icon: "values", key: "c", file: "configurations"},
  {path: "basket", needs: "ManageConfiguration", label: "Basket", icon: "basket", key: "b"},
  {path: "schemas", needs: "GetConfiguration", label: "Schemas", icon: "schemas", key: "s"},
  {path: "devices", label: "Devices", icon: "devices", key: "d"},
  {path: "fleet", needs: "GetConfiguration", label: "Fleet", icon: "fleet", key: "f"},
  {path: "layers", needs: "GetConfiguration", label: "Layers", icon: "layers", key: "y"},
  {path: "rollouts", needs: "GetConfiguration", label: "Rollouts", icon: "rollouts", key: "r"},
  {path: "audit", needs: "GetConfiguration", label: "Audit", icon: "changes", key: "a"},
  {path: "transfer", needs: "GetConfiguration", label: "Import and export", icon: "transfer", key: "i"},
  {path: "access", label: "Access", icon: "people", key: "u"},
  {path: "live", label: "Live", icon: "live", key: "l"},
  {path: "api", label: "API", icon: "api", key: "p"},
  {path: "tenant", hidden: true, of: "access"},
  {path: "schema", needs: "GetConfiguration", hidden: true, of: "schemas"},
  {path: "device", hidden: true, of: "devices"},
  {path: "layer", needs: "GetConfiguration", hidden: true, of: "layers"},
  {path: "rollout", needs: "GetConfiguration", hidden: true, of: "rollouts"},
  {path: "one", needs: "GetConfiguration", hidden: true, of: "c", keys: {e: () => refine({tab: undefined, edit: 1}), h: () => go(to("one", ...route.value.rest, {tab: "history"}))}},
];

/** The keys that open screens. */
const KEYS = {
  b: () => go(to("basket")),
  ...Object.fromEntries(SCREENS.filter(({key}) => key).map(({key, path}) => [`g ${key}`, () => go(to(path))])),
};

const STATES = {
  connecting: () => ["waiting", "Connecting…"],
  catching_up: () => ["waiting", "Catching up…"],
  live: () => ["live", "Live"],
  stale: ({staleSince}) => [
    "offline",
    `Offline since ${staleSince ? hour(staleSince) : "the start"}`,
    "What you see is of then. Saving waits until the gateway is back.",
  ],
  closed: () => ["offline", "Logged out"],
};

/** The state of the connection, which is always shown. */
function Status() {
  const [kind, text, more] = login.value.wanted ? ["offline", "Logged out"] : STATES[status.value.state](status.value);
  useEffect(() => {
    if (kind !== "waiting") announce(more ? `${text}. ${more}` : text);
  }, [text]);
  const reason = status.value.reason?.message ?? status.value.reason;
  const since = status.value.staleSince && moment(status.value.staleSince.getTime());
  return html`<p class=${`status ${kind}`} title=${[since, reason].filter(Boolean).map(plain).join(" · ") || undefined}>
    <span class="dot"></span>${text}${more && html`<span class="more"> ${more}</span>`}
  </p>`;
}

function Navigation({close}) {
  const {screen, rest} = route.value;
  const inLayer = screen === "one" && rest.length > 1;
  const current = inLayer ? "layers" : SCREENS.find(({path}) => path === screen)?.of ?? screen;
  return html`<nav class="main" aria-label="Screens">
    <ul>
      ${SCREENS.filter(({hidden, needs}) => !hidden && (!needs || may(needs))).map(
        ({path, label, icon}) => html`<li>
          <a href=${to(path)} aria-current=${path === current ? "page" : undefined} onClick=${close}>
            <${Icon} name=${icon} />${label}
            ${path === "basket" && staged.value.size > 0 && html`<span class="number">${staged.value.size}</span>`}
          </a>
        </li>`,
      )}
    </ul>
  </nav>`;
}

/** Log out, or say that this was not possible. */
async function leave() {
  try {
    await logOut();
  } catch (error) {
    tell(`You are still logged in, because the gateway could not be asked: ${error.message}. Try again.`, undefined, {wrong: true});
  }
}

export function Shell() {
  const [open, setOpen] = useState(false);
  const [preferences, setPreferences] = useState(false);
  const close = () => setOpen(false);
  useKeys({...KEYS, "?": () => setPreferences(true), ...SCREENS.find(({path}) => path === route.value.screen)?.keys});
  return html`<a class="skip" href="#main" onClick=${(event) => (event.preventDefault(), document.getElementById("main").focus())}>Skip to the screen</a>
    <header class="top">
      <button type="button" class="plain square narrow-only" aria-expanded=${open} aria-label="Screens" onClick=${() => setOpen(!open)}><${Icon} name="menu" /></button>
      <a class="brand" href=${to("c")}><img src="icon.svg" alt="" width="24" height="24" />Hivewire</a>
      <span class="host" title=${about.value && `Version ${about.value.serverVersion ?? about.value.apiVersion}`}>${location.host}</span>
      <${Notices} />
      <${Status} />
      <button type="button" class="plain square" aria-label="Settings and keys" title="Settings and keys ( ? )" onClick=${() => setPreferences(true)}><${Icon} name="settings" /></button>
      ${me.value && html`<span class="who"><${Text} of=${me.value.login} /></span>`}
      <${Button} kind="small" onClick=${leave}>Log out<//>
    </header>
    <div class=${`side ${open ? "open" : ""}`}><${Navigation} close=${close} /></div>
    <main id="main" tabindex="-1">${["c", "one"].includes(route.value.screen) && guided() && html`<${Start} />`}
      ${status.value.state === "closed" && html`<div class="bar" role="alert"><p>The connection has ended for good: ${plain(status.value.reason?.message)}. What you typed is still here; copy it before you reload.</p><${Button} onClick=${() => location.reload()}>Reload<//></div>`}
      <${Screen} /></main>
    ${preferences && html`<${Preferences} close=${() => setPreferences(false)} />`}
    ${login.value.wanted && html`<${Login} />`}`;
}

const fileOf = ({path, file = path}) => load(new URL(`screens/${file}.js`, import.meta.url));

/** Move the focus to the heading of a new screen, from the link to it or what is gone, so that it is read out and Tab goes on there. */
function enter() {
  if (document.activeElement !== document.body && !document.activeElement.closest("nav.main")) return;
  const heading = document.querySelector("main h1") ?? document.getElementById("main");
  heading.tabIndex = -1;
  heading.focus();
}

function Screen() {
  const {screen, rest} = route.value;
  const found = SCREENS.find(({path}) => path === screen);
  const {value, error, again} = useLoaded(async () => ({of: found, screen: found && (await fileOf(found)).default}), [found]);
  useEffect(() => {
    document.title = `${[...rest.map(plain), found?.label].filter(Boolean).join(" · ")} – Hivewire`;
  }, [route.value]);
  // The key makes Preact build a new screen for another path, so that it does not keep the state of the old one.
  const key = screen === "api" ? screen : [screen, ...rest].join("/");
  const entered = useRef();
  useEffect(() => {
    if (value?.of !== found || entered.current === key) return;
    if (entered.current !== undefined) enter();
    entered.current = key;
  }, [value, key]);
  if (found?.needs && !may(found.needs)) {
    return html`<${Barred} right=${found.needs}>${screen === "c" && html`You may look at <a href=${to("devices")}>devices</a>.`}<//>`;
  }
  if (!found) return html`<h1>There is no such screen</h1><p><a href=${to("c")}>Go to the configurations</a></p>`;
  if (error) return html`<${Problem} error=${error} retry=${again} />`;
  return value?.of === found && html`<${value.screen} key=${key} ...${route.value} />`;
}
