"""What `hivewire login` remembers: the address, the login and its tokens, in a file that only its owner can read."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

import click
import msgspec
from msgspec import Struct


class ProfileError(click.ClickException):
    """The profile cannot be read or written; the message says why and quotes nothing from it."""


class Profile(Struct):
    """A login at one gateway. `url` is the address as it was given; the tokens are for this gateway."""

    url: str
    login: str
    access_token: str
    refresh_token: str

    def __repr__(self) -> str:
        return f"Profile({self.url!r}, {self.login!r})"


def path(environment: Mapping[str, str] = os.environ) -> Path:
    """The path of the profile that `--profile` or else HIVEWIRE_PROFILE names.

    The profile NAME is `hivewire/profile-NAME.json` in the user's configuration directory; without a name it is
    `hivewire/profile.json` there. What contains a slash is the path itself.
    """
    name = chosen_name() or environment.get("HIVEWIRE_PROFILE")
    if name and "/" in name:
        return Path(name)
    base = environment.get("XDG_CONFIG_HOME") or os.path.join(os.path.expanduser("~"), ".config")
    return Path(base) / "hivewire" / (f"profile-{name}.json" if name else "profile.json")


def chosen_name() -> str | None:
    """The NAME that `--profile` gives to this command."""
    context = click.get_current_context(silent=True)
    name: str | None = context.meta.get(_NAME) if context is not None else None
    return name


def _remember_name(context: click.Context, option: click.Parameter, name: str | None) -> None:
    if name is not None:
        context.meta[_NAME] = name


_NAME = "hivewire.profile"

profile_option = click.option(
    "--profile",
    metavar="NAME",
    expose_value=False,
    is_eager=True,
    callback=_remember_name,
    help="Use the login of this name, whatever HIVEWIRE_URL and HIVEWIRE_TOKEN are [HIVEWIRE_PROFILE].",
)
"""Every command that reaches a gateway has it. `path` reads it, so nothing has to pass it on."""


def load(place: Path) -> Profile | None:
    """The profile, or None when nobody has logged in. Raises ProfileError for a file that is not one."""
    try:
        return msgspec.json.decode(place.read_bytes(), type=Profile)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ProfileError(f"cannot read the profile {place}: {error.strerror}") from None
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise ProfileError(f"{place} is not a profile: run hivewire login again") from None


def save(profile: Profile, place: Path) -> None:
    """Write it whole, with mode 0600 from the first byte on. Raises ProfileError."""
    try:
        place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # mkstemp creates the file with mode 0600.
        descriptor, temporary = tempfile.mkstemp(dir=place.parent, prefix=".profile")
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(msgspec.json.format(msgspec.json.encode(profile)))
            os.replace(temporary, place)
        except BaseException:
            os.unlink(temporary)
            raise
    except OSError as error:
        raise ProfileError(f"cannot write the profile {place}: {error.strerror}") from None
