"""The `leadline` command: the client's commands, and those that run or examine an installation.

The latter load the servers when they are called: the client works where only the client is installed.
"""

from __future__ import annotations

import sys
from datetime import date, datetime
from pathlib import Path
from typing import Annotated

import typer

from leadline.cli import app
from shared.errors import LeadlineError

OURS = ("leadline", "services", "shared", "deploy")
DEFAULT_STATE = Path(".leadline")

State = Annotated[
    Path,
    typer.Option("--state", envvar="LEADLINE_STATE", help="Directory of the database, its passwords and the log."),
]
Port = Annotated[int, typer.Option("--port", min=0, max=65535, help="Port to serve on; 0 takes a free one.")]
Bind = Annotated[
    str, typer.Option("--bind", help="Address to serve on; 0.0.0.0 in a container, whose port somebody else publishes.")
]
Data = Annotated[Path | None, typer.Option("--data", help="Price file, Parquet or CSV: symbol,date,close,adj_close,…")]
AsOf = Annotated[
    datetime | None,
    typer.Option("--as-of", formats=["%Y-%m-%d"], help="Time stands still once this session is due."),
]


@app.command()
def up(
    data: Data = None,
    as_of: AsOf = None,
    port: Port = 8000,
    state: State = DEFAULT_STATE,
    bind: Bind = "127.0.0.1",
) -> None:
    """Run everything embedded until Ctrl-C: PostgreSQL, a Kafka-protocol broker, the five services."""
    from deploy.embedded.run import Options
    from deploy.embedded.run import up as run

    run(Options(state=state, port=port, bind=bind, data=data, as_of=_date(as_of)))


@app.command()
def demo(
    port: Port = 8000,
    state: State = DEFAULT_STATE,
    serve: Annotated[
        bool, typer.Option("--serve/--no-serve", envvar="SERVE", help="Keep serving until Ctrl-C.")
    ] = False,
) -> None:
    """Run a sample portfolio on bundled real prices through all five services, and print its risk picture."""
    from deploy.embedded.demo import demo as run
    from deploy.embedded.run import Options

    run(Options(state=state, port=port), serve=serve)


@app.command()
def doctor(
    state: Annotated[
        Path | None,
        typer.Option(
            "--state",
            envvar="LEADLINE_STATE",
            help="Directory of an embedded run; without it .leadline, or the environment.",
        ),
    ] = None,
) -> None:
    """Check broker, topics, database, migrations, providers, clock and calendar horizon."""
    import asyncio

    from deploy.doctor import run_checks

    if not asyncio.run(run_checks(state)):
        raise typer.Exit(1)


Installation = Annotated[
    Path | None,
    typer.Option(
        "--state",
        help="Directory of an embedded run. Without it the database of LEADLINE_ADMIN_DATABASE_URL, or else .leadline.",
    ),
]


@app.command()
def backup(
    path: Annotated[Path, typer.Argument(help="A directory that is not there yet.")], state: Installation = None
) -> None:
    """Back everything up, while it runs: a dump of the database, and what must be the same once it is restored."""
    import asyncio

    from deploy import backup as work

    async def run() -> work.Manifest:
        async with work.open_administrator_url(state) as url:
            return await work.backup(url, path)

    print(f"{path}: {asyncio.run(run()).summary()}")


@app.command()
def restore(
    path: Annotated[Path, typer.Argument(help="What `leadline backup` wrote.")], state: Installation = None
) -> None:
    """Restore a backup into an empty database, and prove that nothing is missing and nothing differs."""
    import asyncio

    from deploy import backup as work

    async def run() -> work.Manifest:
        async with work.open_administrator_url(state, empty=True) as url:
            return await work.restore(url, path)

    print(f"restored, and the same as what was backed up: {asyncio.run(run()).summary()}")


def _date(given: datetime | None) -> date | None:
    return None if given is None else given.date()


def main() -> None:
    """Entry point. What we raise on purpose is told in a line; anything else keeps its traceback."""
    try:
        app()
    except LeadlineError as error:
        print(f"leadline: {error}", file=sys.stderr)
        sys.exit(1)
    except ModuleNotFoundError as error:
        library = (error.name or "").split(".")[0]
        if library in OURS:
            raise
        print(
            f"leadline: this command needs {library}, which is not installed here. It runs the servers; install them with"
            " pip install 'leadline[server,compute,embedded]'.",
            file=sys.stderr,
        )
        sys.exit(1)


if __name__ == "__main__":
    main()
