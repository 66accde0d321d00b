"""What every command shares: consoles, one JSON document, and failures told in a line."""

from __future__ import annotations

import functools
import json
import sys
from collections.abc import Callable
from typing import Annotated, Any, ParamSpec

import typer
from rich.console import Console
from rich.markup import escape

from leadline.http import Failed
from leadline.tables import overview
from leadline.tables.text import SafeConsole, echo

FAILED = 1
# A pipe has no width; tables cut at 80 columns lose figures.
PIPE_WIDTH = 140

P = ParamSpec("P")
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document")]


def console_for(*, stderr: bool = False) -> Console:
    """A console that is wide enough for the tables where nobody's terminal limits it."""
    stream = sys.stderr if stderr else sys.stdout
    return SafeConsole(stderr=stderr, width=None if stream.isatty() else PIPE_WIDTH, highlight=False)


def reports(command: Callable[P, None]) -> Callable[P, None]:
    """A call that failed is a message on standard error and exit code 1, not a traceback; with `--json` the problem is the
    one document on standard output."""

    @functools.wraps(command)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            command(*args, **kwargs)
        except Failed as error:
            if kwargs.get("as_json"):
                print_document(error.document)
            errors = console_for(stderr=True)
            errors.print(f"[red]{escape(str(error))}[/red]", soft_wrap=True)
            if error.errors:
                overview.render_issues(errors, "Errors", error.errors, total=error.document.get("errors_total"))
            raise typer.Exit(FAILED) from error

    return wrapped


def tell(document: Any, words: str, *, as_json: bool) -> None:
    """What a command did, as a document or in words."""
    if as_json:
        print_document(document)
    else:
        echo(words)


def print_document(document: Any) -> None:
    # Beyond ASCII everything is escaped, and the controls below it.
    typer.echo(json.dumps(document, indent=2, allow_nan=False).replace("\x7f", "\\u007f"))
