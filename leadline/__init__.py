"""Client, command line and tables of Leadline: everything that speaks HTTP to the server, and nothing of the server."""

from leadline.async_client import AsyncClient
from leadline.client import Client
from leadline.errors import Failed

__all__ = ["AsyncClient", "Client", "Failed"]
