"""How a command reaches its gateway: address and token from flags, then the environment, then the profile."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import click

from hivewire.cli import profile as profiles
from hivewire.cli.profile import Profile
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
    """Add `--url` and `--token` to a command and call it with an authenticated Remote as its first argument."""

    @functools.wraps(command)
    def wrapped(url: str | None, given_token: str | None, **arguments: Any) -> Any:
        with reach(url, given_token) as remote:
            return command(remote, **arguments)

    return url_option(token_option(wrapped))


@contextmanager
def reach(url: str | None, token: str | None) -> Iterator[Remote]:
    """An authenticated connection; an expired token of the profile is renewed and remembered."""
    profile = profiles.load(profiles.path())
    address = url or (profile.url if profile is not None else DEFAULT_URL)
    if token is None:
        if profile is None:
            raise click.ClickException("nobody is logged in: run hivewire login, or give --token")
        if endpoint(address) != profile.url:
            # A token is for the gateway that gave it, and is shown to no other.
            raise click.ClickException(
                f"the profile is for {profile.url}, not for {address}:"
                f" run hivewire login --url {address}, or give --token"
            )
    with Remote(address) as remote:
        if token is not None:
            remote.request("authenticate", token=token)
        elif profile is not None:
            _authenticate(remote, profile)
        yield remote


def _authenticate(remote: Remote, profile: Profile) -> None:
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
        raise click.ClickException(f"the login has ended ({error}): run hivewire login again") from None
    profiles.save(profile, profiles.path())
