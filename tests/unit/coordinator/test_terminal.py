"""What the command line prints stands on the terminal and does nothing to it, whoever wrote it."""

from __future__ import annotations

import io
from pathlib import Path

import httpx2
import pytest
from rich.markup import escape
from typer.testing import CliRunner

from leadline import cli
from leadline.http import Client
from leadline.run import console_for
from leadline.tables.grid import blocks, table
from leadline.tables.text import SafeConsole, reasons_text, text

ATTACK = "\x1b]0;pwned\x07\x1b[2J\x1b[1;1H\x1b]52;c;cm0=\x07\x9b2J\u202e"
ACTS = ("\x1b", "\x07", "\x9b", "\u202e", "\x08")


def test_every_way_that_rich_prints_a_string_is_safe() -> None:
    out = io.StringIO()
    console = SafeConsole(file=out, width=140)
    made = table(f"title {ATTACK}", f"column {ATTACK}", "n")
    made.caption = ATTACK
    made.add_row(text(ATTACK), ATTACK)
    console.print(made)
    console.print(f"line {escape(ATTACK)}", ATTACK)
    blocks(console, ATTACK, [ATTACK], [ATTACK], lambda _, __: ATTACK)
    for line in reasons_text([{"symbol": ATTACK, "reason": "no_prices"}]):
        console.print(line)
    printed = out.getvalue()
    assert not any(each in printed for each in ACTS)
    assert "\ufffd]0;pwned" in printed


def test_what_is_replaced_makes_no_markup() -> None:
    out = io.StringIO()
    SafeConsole(file=out, width=80, force_terminal=True, color_system="truecolor", highlight=False).print(
        escape("[\u200bred]x[/\u200bred]")
    )
    assert out.getvalue() == "[\ufffdred]x[/\ufffdred]\n"


def test_the_commands_print_through_it() -> None:
    assert isinstance(console_for(), SafeConsole)
    assert isinstance(console_for(stderr=True), SafeConsole)


@pytest.mark.parametrize("command", [["status"], ["import", "{file}", "--name", "x", "--equity", "5"]])
def test_an_answer_with_escapes_reaches_the_terminal_without(
    command: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def handle(request: httpx2.Request) -> httpx2.Response:
        problem = {"title": ATTACK, "status": 422, "detail": ATTACK, "code": "invalid"}
        return httpx2.Response(
            422, json=problem | {"errors": [{"row": 1, "column": ATTACK, "code": ATTACK, "message": ATTACK}]}
        )

    file = tmp_path / "p.csv"
    file.write_text("symbol\n")
    monkeypatch.setattr(cli, "client", lambda: Client("http://test", transport=httpx2.MockTransport(handle)))
    for more in ([], ["--json"]):
        done = CliRunner().invoke(cli.app, [part.format(file=file) for part in command] + more)
        assert done.exit_code == 1, done.output
        assert "pwned" in done.output
        assert not any(each in done.output for each in ACTS)
