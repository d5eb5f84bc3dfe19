"""The HTTP dialects. To add one, write a module with a `dialect` and its `operations`, and add it here."""

from hivewire.dialects import contents, dashboard, devicehive, front, health, oauth, properties, tenant
from hivewire.http.operations import Operation

_MODULES = (devicehive, contents, oauth, properties, tenant, health, dashboard, front)

DIALECTS = tuple(module.dialect for module in _MODULES)
"""All of them. The first one answers paths that belong to none."""


def operations() -> tuple[Operation, ...]:
    """All their routes, for the OpenAPI document."""
    return tuple(operation for module in _MODULES for operation in module.operations())
