"""`hivewire open`: the dashboard in the browser of this machine."""

from __future__ import annotations

from urllib.parse import quote

import click

from hivewire.cli import plain
from hivewire.cli.gateway import address_of_profile, url_option
from hivewire.cli.output import output_option, print_result
from hivewire.cli.remote import endpoint


@click.command(
    "open",
    epilog="""\b
Examples:
  hivewire open
  hivewire open limits.max          (one configuration)
  hivewire open --url https://config.example.com --print""",
)
@click.argument("name", required=False)
@click.option("--print", "only_print", is_flag=True, help="Only print the address.")
@output_option
@url_option
def open_(url: str | None, name: str | None, only_print: bool, form: str | None) -> None:
    """Print the address of the dashboard, or of the configuration NAME in it, and open it in the browser.

    The address has no token in it: the dashboard asks for a login.
    """
    place = address_of_profile() if url is None else url
    address = dashboard_of(place)
    if plain.ask(place, "GET", "/dashboard/").status == 404:
        raise click.ClickException("this gateway has no dashboard: its setting `dashboard` is false")
    address += f"#/one/{quote(name, safe='')}" if name else ""
    print_result({"url": address}, form, address, address)
    if not only_print:
        click.launch(address)


def dashboard_of(url: str) -> str:
    """The address of a gateway's dashboard, for a browser. Raises BadAddress."""
    place = endpoint(url).replace("ws", "http", 1)
    for end in ("/api/websocket", "/dh/websocket"):
        place = place.removesuffix(end)
    return place.rstrip("/") + "/dashboard/"
