"""The gateway that a command uses: address and token from flags, then the environment, then the profile."""

from __future__ import annotations

import functools
import shlex
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import click
from click.core import ParameterSource

from hivewire.cli import plain
from hivewire.cli import profile as profiles
from hivewire.cli.errors import ADDRESS, BadAddress, RefusedByGateway, RemoteError, Unreachable
from hivewire.cli.profile import Profile, ProfileError

if TYPE_CHECKING:
    from hivewire.cli.remote import Remote
    from hivewire_client.plain import Answer

DEFAULT_URL, USUAL_LOGIN = "http://127.0.0.1:8080", "admin"
COMPLETION_SECONDS, MOST_COMPLETED = 2, 100

_F = TypeVar("_F", bound=Callable[..., Any])


def _address(context: click.Context, option: click.Parameter, url: str | None) -> str | None:
    """The address, unless it is from the environment and `--profile` names a login, which has its own."""
    if context.get_parameter_source("url") is not ParameterSource.ENVIRONMENT:
        return url
    if profiles.chosen_name() is not None and _is_saved():
        return None
    context.meta[ADDRESS] = url
    return url


def _is_saved() -> bool:
    try:
        return profiles.load(profiles.path()) is not None
    except ProfileError:
        return False


def _token(context: click.Context, option: click.Parameter, token: str | None) -> str | None:
    """The token, unless it is from the environment and `--profile` names a login, with tokens for its own gateway."""
    is_set = context.get_parameter_source("given_token") is ParameterSource.ENVIRONMENT
    return None if is_set and profiles.chosen_name() is not None else token


_url_option = click.option(
    "--url",
    envvar="HIVEWIRE_URL",
    callback=_address,
    help=f"The gateway's address [HIVEWIRE_URL; then the profile; then {DEFAULT_URL}].",
)


def url_option(command: _F) -> _F:
    """Add `--url` and `--profile`, which choose the gateway and the login of a command."""
    return _url_option(profiles.profile_option(command))


token_option = click.option(
    "--token",
    "given_token",
    envvar="HIVEWIRE_TOKEN",
    callback=_token,
    help="An access token [HIVEWIRE_TOKEN; then the profile].",
)
since_option = click.option(
    "--since", metavar="POSITION", help="Resume after this position instead of starting with the state."
)
dry_run_option = click.option(
    "--dry-run", is_flag=True, help="Write nothing; show what would be written, or why it would be refused."
)
WOULD = "is not written; it would be"
"""What a command says after a dry run, before the word for what was not done."""
snapshot_option = click.option("--no-snapshot", is_flag=True, help="Only changes from now on, without the state.")


def with_gateway(command: _F) -> Callable[..., Any]:
    """Add `--url` and `--token` to a command and call it with an authenticated Remote as its first argument.

    A command whose arguments need more checks than click's makes these checks first and calls `reach` itself.
    """

    @functools.wraps(command)
    def wrapped(url: str | None, given_token: str | None, **arguments: Any) -> Any:
        with reach(url, given_token) as remote:
            return command(remote, **arguments)

    return url_option(token_option(wrapped))


class Access:
    """The address of a gateway, an access token for it, and the profile that the token is from, if any.

    One Access serves any number of connections, one after the other. It is used by threads without the context of the
    command, so it takes from there what it needs when it is made.
    """

    def __init__(self, url: str, token: str, profile: Profile | None = None) -> None:
        self.url = url
        self.token = token
        self.profile = profile
        self._place = profiles.path()
        self._again = _login_command(profile.url, profile.login) if profile is not None else ""

    @property
    def refresh_token(self) -> str | None:
        """The token that gets others; None for a given token."""
        return None if self.profile is None else self.profile.refresh_token

    def refused(self, why: Exception | None) -> RefusedByGateway:
        """The error for a command whose token, or refresh token, the gateway refuses."""
        if self.profile is None:
            return RefusedByGateway(f"the gateway refused the token of --token or HIVEWIRE_TOKEN: {why}", 401)
        return RefusedByGateway(f"the saved login is no longer valid ({why}): run {self._again}", 401)

    def ask(self, method: str, path: str) -> Answer:
        """A request by plain HTTP, with a new token if the gateway refuses this one. Raises as `renew`."""
        answer = plain.ask(self.url, method, path, self.token)
        if answer.status == 401:
            self.renew()
            answer = plain.ask(self.url, method, path, self.token)
        return answer

    def renew(self) -> None:
        """Get a new token if the gateway refuses this one. Raises ClickException when there is none, Unreachable."""
        from hivewire.cli.remote import Remote

        with Remote(self.url) as remote:
            remote.authenticate(self)

    def keep(self, token: str) -> None:
        """Use this access token from now on, also in the commands to come."""
        self.token = token
        if self.profile is None:
            return
        self.profile.access_token = token
        try:
            kept = profiles.load(self._place)
            # A new login since the profile was read must not be overwritten.
            if kept is not None and kept.refresh_token == self.profile.refresh_token:
                profiles.save(self.profile, self._place)
        except ProfileError as error:
            # The command can continue without the profile; the next command has to refresh again.
            click.echo(f"hivewire: warning: {error.format_message()}", err=True)


def find_access(url: str | None, token: str | None) -> Access:
    """The access from flags, environment or profile. Raises ClickException when none has a token for the url."""
    from hivewire.cli.remote import endpoint  # here, so that help and completion load no network library

    if token is not None:
        return Access(url or address_of_profile(), token)
    profile = profiles.load(profiles.path())
    if profile is None:
        raise click.ClickException(f"not logged in: run {_login_command(url)}, or give --token")
    if url is not None and endpoint(url) != endpoint(profile.url):
        # A token is sent only to the gateway that issued it.
        raise click.ClickException(
            f"the saved login is for {profile.url}, not for {_named(url)}, and is not sent to another gateway:"
            f" run {_login_command(url)}, or give --token"
        )
    return Access(profile.url, profile.access_token, profile)


@contextmanager
def reach(url: str | None, token: str | None) -> Iterator[Remote]:
    """An authenticated connection; an expired token of the profile is renewed and saved.

    Raises ClickException when there is no token for this address, RemoteError when it is refused.
    """
    from hivewire.cli.remote import Remote

    access = find_access(url, token)
    with Remote(access.url) as remote:
        remote.authenticate(access)
        yield remote


def completion(
    ask: Callable[[Remote, str], Iterable[str]],
) -> Callable[[click.Context, click.Parameter, str], list[str]]:
    """The shell completion of an argument: of what `ask` gets for the beginning of a word, that which begins with it;
    nothing when the gateway does not answer."""

    def complete(context: click.Context, argument: click.Parameter, incomplete: str) -> list[str]:
        from hivewire.cli.remote import Remote

        try:
            with context.scope(cleanup=False):  # where `--profile` is remembered
                access = find_access(context.params.get("url"), context.params.get("given_token"))
            with Remote(access.url, COMPLETION_SECONDS) as remote:
                remote.authenticate(access)
                found = ask(remote, incomplete)
        except (click.ClickException, RemoteError, Unreachable, BadAddress):
            return []
        return [name for name in found if name.startswith(incomplete) and name.isprintable()]

    return complete


def _names(remote: Remote, beginning: str) -> list[str]:
    """The names of configurations."""
    found = remote.request("configuration/list", names=[f"{beginning}*"], take=MOST_COMPLETED)
    return [resource["name"] for resource in found["configurations"]]


complete_names = completion(_names)


def address_of_profile() -> str:
    """The gateway of the chosen profile, or the usual one without a login. Raises ProfileError."""
    profile = profiles.load(profiles.path())
    return profile.url if profile is not None else DEFAULT_URL


def _named(url: str) -> str:
    """The address, and HIVEWIRE_URL when it is from there."""
    context = click.get_current_context(silent=True)
    return f"{url} (HIVEWIRE_URL)" if context is not None and context.meta.get(ADDRESS) == url else url


def _login_command(url: str | None, login: str = USUAL_LOGIN) -> str:
    name = profiles.chosen_name()
    given = {"--profile": name, "--url": url, "--login": login if login != USUAL_LOGIN else None}
    return "hivewire login" + "".join(f" {flag} {shlex.quote(text)}" for flag, text in given.items() if text)
