/**
 * What the client promises, as cases that run in Node and in browsers, against the real gateway and the fake. Those
 * that every client has are rows of `tests/clients/cases.md`.
 */

import "./cases/reading.js";
import "./cases/writing.js";
import "./cases/connection.js";
import "./cases/tokens.js";
import "./cases/cache.js";
import "./cases/devices.js";
import "./cases/fleet.js";

export {cases} from "./helpers.js";
