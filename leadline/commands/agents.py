"""`leadline mcp`: started by an agent's program, which speaks to it over standard input and output."""

from __future__ import annotations

from collections.abc import Callable

import typer

from leadline.http import Client, Failed
from leadline.run import reports


def register(app: typer.Typer, client: Callable[[], Client]) -> None:  # noqa: ARG001 (as the other commands; it has a client of its own)
    """Add the command."""

    @app.command()
    @reports
    def mcp() -> None:
        """Serve agents over the Model Context Protocol (stdio): fourteen tools that read, a dry run of imports, a guarded rerun."""
        try:
            from leadline.agents import serve
        except ModuleNotFoundError as error:
            if (error.name or "").split(".")[0] != "mcp":
                raise
            raise Failed("This command needs the MCP SDK: pip install 'leadline[mcp]'.") from error
        serve()
