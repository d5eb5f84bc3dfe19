"""The HTTP dialects. To add one, write a module that makes a `Dialect`, and add a line here."""

from hivewire.dialects import contents, devicehive, front, health, oauth, properties, tenant

DIALECTS = (
    devicehive.dialect,
    contents.dialect,
    oauth.dialect,
    properties.dialect,
    tenant.dialect,
    health.dialect,
    front.dialect,
)
"""All of them. The first one answers paths that belong to none."""
