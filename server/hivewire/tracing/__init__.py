"""Tracing, if a collector is set. Only then is `spans` imported, which loads OpenTelemetry."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from hivewire.settings import Settings, SettingsError

if TYPE_CHECKING:
    from hivewire.tracing.spans import Tracing


def check_endpoint(settings: Settings) -> None:
    """Raise SettingsError for a login in the address of the collector."""
    if settings.otlp_endpoint is not None and "@" in urlsplit(settings.otlp_endpoint).netloc:
        raise SettingsError(
            "the address in otlp_endpoint has a login, which others can see: set OTEL_EXPORTER_OTLP_HEADERS, such as "
            "authorization=Basic%20..."
        )


def tracing_of(settings: Settings) -> Tracing | None:
    """What traces requests, if a collector is set. Raises SettingsError without its packages."""
    if settings.otlp_endpoint is None:
        return None
    try:
        from hivewire.tracing.spans import Tracing
    except ImportError as error:
        raise SettingsError(f"otlp_endpoint needs OpenTelemetry ({error}): pip install 'hivewire[otel]'") from None
    return Tracing(settings)
