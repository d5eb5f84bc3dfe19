"""Texts that somebody may store, to break the page of somebody else."""

from __future__ import annotations

from tests.dashboard.visit import Visit

HOSTILE = [
    "<script>document.title='owned'</script>",
    "<img src=x onerror=\"document.title='owned'\">",
    "'\"><svg onload=alert(1)>",
    "{{constructor.constructor('alert(1)')()}}",
    "${alert(1)}",
    "javascript:alert(1)",
    "</textarea></style></title><h1>big",
    "&lt;b&gt; &amp; &#x3c;script>",
    "\u202eevil\u202c",
    "\u2067right\u2069 to left",
    "a\u0000b\u0007c\u001bd",
    "zero\u200bwidth\u2060",
    "line\nbreak\r\ntab\t",
    "שלום עולם",
    "العربية ١٢٣",
    "👩‍👩‍👧‍👦 🇩🇪",
    "e\u0301\u0301\u0301\u0301\u0301\u0301",
    "very" * 30,
    "%2e%2e%2f%00",
    "../../etc/passwd",
    "<iframe srcdoc='<script>parent.document.title=`owned`</script>'>",
    "<style>*{display:none}</style>",
    "<base href=https://example.com/>",
    "<a href=javascript:alert(1)>click</a>",
    "<math><mtext></form><form><mglyph><style></math><img src onerror=alert(1)>",
    "<!--><script>alert(1)</script>-->",
    "]]><script>alert(1)</script>",
    "<template><script>alert(1)</script></template>",
    "data:text/html,<script>alert(1)</script>",
    "__proto__",
    "constructor",
    "toString",
    "null",
    "-0",
    "9007199254740993",
    "=cmd|' /C calc'!A0",
    "'; DROP TABLE change; --",
    "\u2066isolated\u2069\u200f\u061c",
    "\ufeffmark\u00ad\u2028\u2029",
    "Ä\u030aﬁ①Ⅸ",
]


PLACES = ":is(main, dialog, header.top, nav)"

MARKUP = f"{PLACES} :is(script, img:not(.cm-widgetBuffer, .brand > *), iframe, object, embed, base, style)"
"""What stored text could become. The editor has empty images of its own beside what it shows in place of characters."""

HIDDEN = r"""
places => {
    const all = what => [...document.querySelectorAll(`${places} ${what}`)];
    const texts = all(":is(bdi, th, td, dd, h1, h2, a, p, option, button, legend, label, figcaption)");
    const told = all("*").flatMap(each => [each.ariaLabel ?? "", each.title ?? ""]);
    return [...texts.map(each => each.textContent), ...told]
        .filter(text => /[\p{Cc}\p{Cf}]/u.test(text.replace(/\n */g, "")));
}
"""
"""Texts with characters that are not seen or turn others around: these show as escapes, but in what can be copied."""


async def harmless(visit: Visit) -> None:
    """Nothing on the screen has become an element, has run, hides characters, or is wider than a narrow screen."""
    assert await visit.page.locator(MARKUP).count() == 0
    assert await visit.page.title() != "owned"
    hidden = await visit.page.evaluate(HIDDEN, PLACES)
    assert not hidden, hidden
    await visit.fits()
