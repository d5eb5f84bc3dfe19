"""The CORS headers of answers."""

from __future__ import annotations

CORS = {
    "Access-Control-Allow-Credentials": "true",
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Allow-Methods": "OPTIONS, GET, POST, PUT, DELETE, HEAD",
    "Access-Control-Max-Age": "0",
    "Access-Control-Allow-Headers": "Origin, Authorization, Accept, Content-Type, Auth-DeviceID, Auth-DeviceKey, "
    "Hivewire-At-Least, If-Match, If-None-Match, Last-Event-ID, X-HTTP-Method-Override",
    "Access-Control-Expose-Headers": "ETag, Hivewire-Affects, Hivewire-Dry-Run, Hivewire-Revision, Retry-After",
}
"""On every answer, as in DeviceHive (core protocol, section 1.5), with our own headers added. Not on those of the
property, tenant and OAuth dialects (site properties, section 11, row 20; tenant configuration, section 13, row 21).

With `*` browsers give no page the answer to a request with cookies or a remembered password, whatever
`Allow-Credentials` says (Fetch, CORS check). That is what we want: a page needs a token of its own, which it sends in
`Authorization`. So the origin of a request must never be echoed here; `Allow-Credentials` is only there because
DeviceHive sends it."""
