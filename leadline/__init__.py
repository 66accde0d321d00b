"""Client, command line and tables of Leadline: everything that speaks HTTP to the server, and nothing of the server."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from leadline.async_client import AsyncClient
    from leadline.client import Client
    from leadline.errors import Failed

__all__ = ["AsyncClient", "Client", "Failed"]

# Loaded where they are used: the command line imports this package too, and its help calls nobody.
_HOMES = {"AsyncClient": "leadline.async_client", "Client": "leadline.client", "Failed": "leadline.errors"}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
