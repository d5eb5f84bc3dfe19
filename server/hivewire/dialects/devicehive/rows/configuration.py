"""The paths of configurations."""

from __future__ import annotations

from hivewire.dialects.devicehive.row import Row
from hivewire_protocol.nouns.configuration import (
    ConfigurationAudit,
    ConfigurationDelete,
    ConfigurationGet,
    ConfigurationHistory,
    ConfigurationList,
    ConfigurationPut,
    ConfigurationRollback,
    ConfigurationTransact,
    ConfigurationTree,
)
from hivewire_protocol.nouns.subscription import ConfigurationSubscribe

ROWS = (
    Row("GET", "/configuration", ConfigurationList, stream=ConfigurationSubscribe),
    Row("GET", "/configuration-tree", ConfigurationTree),
    Row("GET", "/configuration-audit", ConfigurationAudit),
    Row("POST", "/configuration/transact", ConfigurationTransact),
    Row("GET", "/configuration/{name}/history", ConfigurationHistory),
    Row("POST", "/configuration/{name}/rollback", ConfigurationRollback),
    Row("GET", "/configuration/{name}", ConfigurationGet, shows="configuration", auth=True),
    Row("PUT", "/configuration/{name}", ConfigurationPut, shows="configuration", auth=True),
    Row("DELETE", "/configuration/{name}", ConfigurationDelete, 204, auth=True),
)
