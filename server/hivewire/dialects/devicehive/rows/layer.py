"""The paths of layers, and of the configurations in them."""

from __future__ import annotations

from hivewire.dialects.devicehive.row import Row
from hivewire_protocol.nouns.configuration import (
    ConfigurationDelete,
    ConfigurationGet,
    ConfigurationHistory,
    ConfigurationList,
    ConfigurationPut,
    ConfigurationRollback,
)
from hivewire_protocol.nouns.layer import LayerDelete, LayerList, LayerPut
from hivewire_protocol.nouns.subscription import ConfigurationSubscribe

_HELD = "/layer/{layer}/configuration"

ROWS = (
    Row("GET", "/layer", LayerList, shows="layers"),
    Row("GET", "/layer/{layer}", LayerList, shows="layers", single=True),
    Row("PUT", "/layer/{layer}", LayerPut, unconditional=True),
    Row("DELETE", "/layer/{layer}", LayerDelete, unconditional=True),
    Row("GET", _HELD, ConfigurationList, stream=ConfigurationSubscribe),
    Row("GET", _HELD + "/{name}/history", ConfigurationHistory),
    Row("POST", _HELD + "/{name}/rollback", ConfigurationRollback),
    Row("GET", _HELD + "/{name}", ConfigurationGet, shows="configuration"),
    Row("PUT", _HELD + "/{name}", ConfigurationPut, shows="configuration"),
    Row("DELETE", _HELD + "/{name}", ConfigurationDelete, 204),
)
