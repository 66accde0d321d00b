"""Client, command line and tables of Leadline: everything that speaks HTTP to the server, and nothing of the server."""

from leadline.http import Client, Failed

__all__ = ["Client", "Failed"]
