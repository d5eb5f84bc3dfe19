"""How a command reaches its gateway: address and token from flags, then the environment, then the profile."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import click

from hivewire.cli import profile as profiles
from hivewire.cli.profile import Profile, ProfileError
from hivewire.cli.remote import Remote, RemoteError, endpoint

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


class Access:
    """Where a command's gateway is, and who one is there: an access token, and the profile if it is from one.

    It can be used for one connection after another, and during a long one.
    """

    def __init__(self, url: str, token: str, profile: Profile | None = None) -> None:
        self.url = url
        self.token = token
        self.profile = profile

    def authenticate(self, remote: Remote) -> None:
        """Show who one is, with a fresh token of the profile's login when the gateway does not take the one there is.

        Raises ClickException when no token is good any more.
        """
        try:
            remote.request("authenticate", token=self.token)
        except RemoteError as error:
            if error.code != 401:
                raise
            self.renew(remote, error)

    def renew(self, remote: Remote, why: RemoteError | None = None) -> None:
        """Get a fresh access token, show it, and remember it. `why` is how the present one was refused, if it was.

        Raises ClickException when there is nothing to get one with, or the login has ended.
        """
        if self.profile is None:
            raise click.ClickException(f"the token of --token or HIVEWIRE_TOKEN is refused: {why}")
        try:
            reply = remote.request("token/refresh", refreshToken=self.profile.refresh_token)
            self.token = reply["accessToken"]
            remote.request("authenticate", token=self.token)
        except RemoteError as error:
            if error.code != 401:
                raise
            raise click.ClickException(f"the login has ended ({error}): run {_login_command(remote.url)}") from None
        self._remember(self.profile)

    def _remember(self, profile: Profile) -> None:
        profile.access_token = self.token
        place = profiles.path()
        try:
            kept = profiles.load(place)
            # Somebody may have logged in anew since it was read, and that login is not to be undone.
            if kept is not None and kept.refresh_token == profile.refresh_token:
                profiles.save(profile, place)
        except ProfileError as error:
            # What was asked for can be done all the same; the next command will have to refresh again.
            click.echo(f"hivewire: warning: {error.format_message()}", err=True)


def access(url: str | None, token: str | None) -> Access:
    """What the flags, the environment and the profile give. Raises ClickException when that is no token for the url."""
    if token is not None:
        return Access(url or _address_of_profile(), token)
    profile = profiles.load(profiles.path())
    if profile is None:
        raise click.ClickException(f"nobody is logged in: run {_login_command(url)}, or give --token")
    if url is not None and endpoint(url) != endpoint(profile.url):
        # A token is for the gateway that gave it, and is shown to no other.
        raise click.ClickException(
            f"the login that is remembered is for {profile.url}, not for {url}, and is not shown to another gateway:"
            f" run {_login_command(url)}, or give --token"
        )
    return Access(profile.url, profile.access_token, profile)


@contextmanager
def reach(url: str | None, token: str | None) -> Iterator[Remote]:
    """An authenticated connection; an expired token of the profile is renewed and remembered.

    Raises ClickException when there is no token for this address, RemoteError when it is refused.
    """
    entry = access(url, token)
    with Remote(entry.url) as remote:
        entry.authenticate(remote)
        yield remote


def _address_of_profile() -> str:
    profile = profiles.load(profiles.path())
    return profile.url if profile is not None else DEFAULT_URL


def _login_command(url: str | None) -> str:
    return "hivewire login" if url is None else f"hivewire login --url {url}"
