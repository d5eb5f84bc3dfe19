"""Reloading: SIGHUP loads the settings and the TLS files again, without interrupting connections."""

from __future__ import annotations

from collections.abc import Callable, Set

from msgspec import Struct

from hivewire.access import bootstrap
from hivewire.services import Services
from hivewire.settings import Settings, SettingsError, changed, reloaded
from hivewire.telemetry import configure_logging, log
from hivewire.transport.server import Server, TlsContext, check_tls, expiry_of

SECRETS = frozenset({"jwt_secret", "jwt_key_derivation", "jwt_previous_secret", "jwt_previous_until"})
"""Settings from which the keys of tokens are made."""


class Reloader(Struct):
    """The handler of SIGHUP. `load` reads the settings from the sources of the start; it raises SettingsError."""

    services: Services
    server: Server
    load: Callable[[], Settings]

    def __call__(self) -> None:
        """Apply the current settings. If one is wrong, nothing changes. The log has the result."""
        old = self.services.settings
        try:
            fresh = self.load()
            stays = (fresh.tls_certificate is None) == (old.tls_certificate is None)
            context = check_tls(fresh) if stays else None
            settings = reloaded(old, fresh)
            taken = changed(old, settings)
            replaced = self._take(settings, taken, context)
        except SettingsError as error:
            log.error("the settings were not reloaded", reason=str(error))
            return
        if replaced:
            expires = expiry_of(str(settings.tls_certificate))
            log.info("reloaded", changed=sorted(taken | {"tls_certificate"}), expires=expires)
        else:
            log.info("reloaded", changed=sorted(taken))
        if left := sorted(changed(settings, fresh)):
            log.warning("settings have changed that need a restart", settings=left)

    def _take(self, settings: Settings, taken: Set[str], context: TlsContext | None) -> bool:
        """Apply the settings, and say whether TLS files were replaced. Everything that can fail is done first."""
        tokens = self.services.tokens
        key = bootstrap.signing_key(settings, self.services.ledger)
        previous = bootstrap.previous_key(settings, self.services.ledger)
        replaced = self.server.reload(settings, context)
        self.services.settings = settings
        configure_logging(settings.log_format, settings.log_level)
        tokens.access_lifetime = settings.access_token_lifetime * 1_000
        tokens.refresh_lifetime = settings.refresh_token_lifetime * 1_000
        if taken & SECRETS:
            tokens.use(key, previous)
            self.services.hub.recheck()
        return replaced
