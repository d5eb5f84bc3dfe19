import {html} from "../vendor/preact.js";
export default function One() { return html`<h1>One</h1>`; }
