/** A component with the hooks, bundled by `tests/clients/test_javascript.py` and shown in a browser. */

import {createElement} from "react";
import {createRoot} from "react-dom/client";

import {Hivewire, json} from "../src/index.js";
import {useConfiguration, useHivewireState} from "../src/react.js";
import {FakeGateway} from "../src/testing.js";

const gateway = new FakeGateway();
const hw = new Hivewire(gateway.url, {WebSocket: gateway.WebSocket, token: gateway.token()});
const limits = json();

function Limit() {
  const {state} = useHivewireState(hw);
  const max = useConfiguration(hw, "limits.api", limits)?.max ?? 100;
  return createElement("p", null, `${state}: at most ${max}`);
}

globalThis.gateway = gateway;
createRoot(document.body).render(createElement(Limit));
