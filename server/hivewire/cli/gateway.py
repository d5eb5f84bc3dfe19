"""How a command reaches its gateway: address and token from flags, then the environment, then the profile."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import click

from hivewire.cli import profile as profiles
from hivewire.cli.profile import Profile, ProfileError
from hivewire.remote import Remote, RemoteError, endpoint

DEFAULT_URL = "http://127.0.0.1:8080"

_F = TypeVar("_F", bound=Callable[..., Any])

url_option = click.option(
    "--url", envvar="HIVEWIRE_URL", help=f"The gateway's address [HIVEWIRE_URL; then the profile; then {DEFAULT_URL}]."
)
token_option = click.option(
    "--token", "given_token", envvar="HIVEWIRE_TOKEN", help="An access token [HIVEWIRE_TOKEN; then the profile]."
)


def connected(command: _F) -> Callable[..., Any]:
    """Add `--url` and `--token` to a command and call it with an authenticated Remote as its first argument.

    A command whose arguments can be wrong in ways that click does not see checks them first and calls `reach` itself.
    """

    @functools.wraps(command)
    def wrapped(url: str | None, given_token: str | None, **arguments: Any) -> Any:
        with reach(url, given_token) as remote:
            return command(remote, **arguments)

    return url_option(token_option(wrapped))


@contextmanager
def reach(url: str | None, token: str | None) -> Iterator[Remote]:
    """An authenticated connection; an expired token of the profile is renewed and remembered.

    Raises ClickException when there is no token for this address, RemoteError when it is refused.
    """
    if token is not None:
        with Remote(url or _address_of_profile()) as remote:
            _authenticate(remote, token)
            yield remote
        return
    profile = profiles.load(profiles.path())
    if profile is None:
        raise click.ClickException(f"nobody is logged in: run {_login_command(url)}, or give --token")
    if url is not None and endpoint(url) != endpoint(profile.url):
        # A token is for the gateway that gave it, and is shown to no other.
        raise click.ClickException(
            f"the login that is remembered is for {profile.url}, not for {url}, and is not shown to another gateway:"
            f" run {_login_command(url)}, or give --token"
        )
    with Remote(profile.url) as remote:
        _log_in(remote, profile)
        yield remote


def _address_of_profile() -> str:
    profile = profiles.load(profiles.path())
    return profile.url if profile is not None else DEFAULT_URL


def _login_command(url: str | None) -> str:
    return "hivewire login" if url is None else f"hivewire login --url {url}"


def _authenticate(remote: Remote, token: str) -> None:
    try:
        remote.request("authenticate", token=token)
    except RemoteError as error:
        if error.code != 401:
            raise
        raise click.ClickException(f"the token of --token or HIVEWIRE_TOKEN is refused: {error}") from None


def _log_in(remote: Remote, profile: Profile) -> None:
    """Authenticate with the profile's tokens, with a fresh one when the gateway does not take the access token."""
    try:
        remote.request("authenticate", token=profile.access_token)
        return
    except RemoteError as error:
        if error.code != 401:
            raise
    try:
        profile.access_token = remote.request("token/refresh", refreshToken=profile.refresh_token)["accessToken"]
        remote.request("authenticate", token=profile.access_token)
    except RemoteError as error:
        if error.code != 401:
            raise
        raise click.ClickException(f"the login has ended ({error}): run {_login_command(remote.url)}") from None
    try:
        profiles.save(profile, profiles.path())
    except ProfileError as error:
        # What was asked for can be done all the same; the next command will have to refresh again.
        click.echo(f"hivewire: warning: {error.format_message()}", err=True)
