/** The user's preferences in this browser: theme, density, and so on. No data of the gateway is stored. */

import {effect, signal} from "../vendor/preact.js";

const DEFAULTS = {theme: "system", density: "comfortable", delimiter: ".", letters: true, start: true, held: 200_000};

function stored() {
  try {
    return {...DEFAULTS, ...JSON.parse(localStorage.getItem("hivewire.settings") ?? "{}")};
  } catch {
    return DEFAULTS; // a browser may refuse storage
  }
}

export const settings = signal(stored());

/** Change some of them. */
export function choose(changed) {
  settings.value = {...settings.value, ...changed};
  try {
    localStorage.setItem("hivewire.settings", JSON.stringify(settings.value));
  } catch {
    // Without storage they last as long as the page.
  }
}

effect(() => {
  const {theme, density} = settings.value;
  Object.assign(document.documentElement.dataset, {theme, density});
});
