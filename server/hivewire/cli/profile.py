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
    """A login at one gateway. `url` is the WebSocket endpoint that the tokens are for."""

    url: str
    login: str
    access_token: str
    refresh_token: str

    def __repr__(self) -> str:
        return f"Profile({self.url!r}, {self.login!r})"


def path(environment: Mapping[str, str] = os.environ) -> Path:
    """The path of the profile: HIVEWIRE_PROFILE, or `hivewire/profile.json` in the user's configuration directory."""
    if environment.get("HIVEWIRE_PROFILE"):
        return Path(environment["HIVEWIRE_PROFILE"])
    base = environment.get("XDG_CONFIG_HOME") or os.path.join(os.path.expanduser("~"), ".config")
    return Path(base) / "hivewire" / "profile.json"


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
