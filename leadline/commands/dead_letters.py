"""`leadline dead-letters`: look at what could not be handled, mend it, send it again or give it up."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

from leadline.http import Client
from leadline.run import Json, console_for, print_document, reports
from leadline.tables.grid import table
from leadline.tables.text import echo

USAGE = 2
Letter = Annotated[int, typer.Argument(metavar="ID", help="The dead letter's id")]
OneOrMany = Annotated[int | None, typer.Argument(metavar="[ID]", help="The dead letter's id; without it many")]
Every = Annotated[bool, typer.Option("--all", help="All open ones that fit; only shown unless --yes is given")]
Yes = Annotated[bool, typer.Option("--yes", help="Do it, where many are meant")]
Reason = Annotated[str | None, typer.Option(help="Only those put aside for this reason")]
Consumer = Annotated[str | None, typer.Option(help="Only those of this service")]
Topic = Annotated[str | None, typer.Option(help="Only those of this topic")]
Body = Annotated[Path | None, typer.Option(exists=True, dir_okay=False, help="File with the new body")]
Headers = Annotated[list[str] | None, typer.Option(help="NAME=VALUE; repeat for several")]


def commands(client: Callable[[], Client]) -> typer.Typer:
    """The command group. `client` makes the API's client, a command at a time."""
    app = typer.Typer(help="Messages and units that could not be handled.", no_args_is_help=True)

    @app.command("list")
    @reports
    def list_letters(
        reason: Reason = None,
        consumer: Consumer = None,
        topic: Topic = None,
        as_json: Json = False,  # noqa: FBT002
    ) -> None:
        """Open dead letters, newest first."""
        with client() as api:
            items = api.pages("/admin/dead-letters", reason=reason, consumer=consumer, topic=topic)
        if as_json:
            print_document({"items": items})
        else:
            _print_list(items)

    @app.command("show")
    @reports
    def show_letter(letter: Letter) -> None:
        """One dead letter, as JSON."""
        with client() as api:
            print_document(api.get(f"/admin/dead-letters/{letter}"))

    @app.command("edit")
    @reports
    def edit_letter(letter: Letter, body: Body = None, header: Headers = None) -> None:
        """Mend body or headers before sending it again; prints it as it is then. What came is kept."""
        with client() as api:
            print_document(_edit(api, letter, body, header))

    _add_settling(app, client, "replay", "is sent again", "Send one again, once; or --all of them.")
    _add_settling(app, client, "purge", "is given up", "Give one up for good; or --all of them.")
    return app


def _print_list(items: Sequence[Mapping[str, Any]]) -> None:
    rows = table(f"Dead letters ({len(items)})", "id", "received", "consumer", "topic", "reason", "error", left=6)
    for item in items:
        error = escape(item["error"][:100])
        rows.add_row(str(item["id"]), item["received_at"], item["consumer"], item["topic"], item["reason"], error)
    console_for().print(rows)


def _edit(api: Client, letter: int, body: Path | None, header: Sequence[str] | None) -> Any:
    """Store another body, other headers or both; returns the dead letter as it is then."""
    mended: dict[str, object] = {}
    if body is not None:
        mended["body"] = body.read_text()
    if header:
        pairs = [item.partition("=") for item in header]
        if not all(found for _, found, _ in pairs):
            echo("--header wants NAME=VALUE", err=True)
            raise typer.Exit(USAGE)
        before = api.get(f"/admin/dead-letters/{letter}")["headers"]
        mended["headers"] = before | {name: value for name, _, value in pairs}
    return api.patch(f"/admin/dead-letters/{letter}", json=mended)


def _add_settling(app: typer.Typer, client: Callable[[], Client], verb: str, done: str, told: str) -> None:
    """Add a command that closes one dead letter or many. done: what is said of one; told: the command's help"""

    @app.command(verb, help=told)
    @reports
    def settle(
        letter: OneOrMany = None,
        every: Every = False,  # noqa: FBT002
        yes: Yes = False,  # noqa: FBT002
        reason: Reason = None,
        consumer: Consumer = None,
        topic: Topic = None,
        as_json: Json = False,  # noqa: FBT002
    ) -> None:
        params = _filters(letter, reason, consumer, topic, every=every)
        _settle(client, verb, letter, params, yes=yes, as_json=as_json, done=done)


def _filters(
    letter: int | None, reason: str | None, consumer: str | None, topic: str | None, *, every: bool
) -> dict[str, object]:
    """One or many, never neither and never both: a scope does not widen by mistake."""
    given = {"reason": reason, "consumer": consumer, "topic": topic}
    if (letter is None) != every or (letter is not None and any(given.values())):
        echo("Give an ID, or --all with or without --reason, --consumer and --topic.", err=True)
        raise typer.Exit(USAGE)
    return dict(given)


def _settle(
    client: Callable[[], Client],
    verb: str,
    letter: int | None,
    params: dict[str, object],
    *,
    yes: bool,
    as_json: bool,
    done: str,
) -> None:
    with client() as api:
        if letter is not None:
            answer = api.post(f"/admin/dead-letters/{letter}/{verb}")
        else:
            answer = api.post(f"/admin/dead-letters/{verb}", params={**params, "dry_run": str(not yes).lower()})
    if as_json:
        print_document(answer)
    elif letter is not None:
        echo(f"dead letter {letter} {done}")
    else:
        settled = answer["replayed" if verb == "replay" else "purged"]
        echo(f"{len(settled)} dead letters: {done if yes else 'not done; give --yes to do it'}")
        if answer["refused"]:
            why = "cannot be sent again" if verb == "replay" else "are about units that are blocked, and stay"
            echo(f"{why}: {', '.join(map(str, answer['refused']))}")
        if answer["more"]:
            echo("there are more: call again")
