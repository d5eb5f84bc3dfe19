"""`hivewire describe`: the API documents, for tools that make clients, mocks and pages."""

from __future__ import annotations

import json

import click

from hivewire.cli.output import output_option, print_result


@click.command(
    epilog="""\b
Examples:
  hivewire describe openapi > openapi.json
  hivewire describe asyncapi > asyncapi.json

\b
A running gateway has them at /openapi.json and /asyncapi.json."""
)
@click.argument("what", type=click.Choice(["openapi", "asyncapi"]))
@output_option
def describe(what: str, form: str | None) -> None:
    """Print the OpenAPI or the AsyncAPI document: of the HTTP APIs, or of the WebSocket. It needs no gateway."""
    from hivewire.openapi import DOCUMENTS  # here, because it loads all dialects

    document = json.loads(DOCUMENTS[what]())
    text = json.dumps(document, indent=1, ensure_ascii=False)
    print_result(document, form, text, text)
