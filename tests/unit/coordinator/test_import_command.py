"""`leadline import` against canned answers: where a file goes, what is said about it, what is mistyped."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx2
import pytest
from typer.testing import CliRunner

from leadline import cli
from leadline.http import Client

ID, OTHER = "01a20058-0000-7000-8000-000000000001", "01b20058-0000-7000-8000-000000000002"
IMPORT = "01c20058-0000-7000-8000-000000000003"
LISTED = {"items": [{"id": ID, "name": "Mine"}, {"id": OTHER, "name": "Other"}], "next": None}
READING = {
    "preset": "schwab-lots", "title": "Charles Schwab, lot details", "kind": "positions", "dialect": "us",
    "dialect_means": "numbers as $1,234.50", "header_row": 2, "file_date": None,
}  # fmt: skip
ANSWER: dict[str, Any] = {
    "id": ID, "name": "Mine", "positions": 1, "unchanged": 2, "changed": 0, "import_id": IMPORT, "reading": READING, "warnings": [],
    "would_change": [
        {"row": 4, "symbol": "KO", "entry_date": "2020-03-04", "changes": {"exit_date": {"stored": None, "file": "2020-11-16"}}}
    ],
}  # fmt: skip
PREVIEW = ANSWER | {
    "preview": [
        {
            "row": 2, "symbol": "KO", "name": None, "company": "Coca-Cola", "investment_class": "PUBLIC", "quantity": 1000.0,
            "entry_session": "2020-03-04", "entry_price": 56.2, "price_basis": "as_traded", "price_basis_known": False,
            "close_as_traded": 56.5, "close_split_adjusted": 56.5, "written": {"quantity": "1.000", "entry_price": "56,20"},
        }
    ],
    "unknown_symbols": [{"symbol": "KOO", "message": "the price source (file) does not have it", "suggestions": ["KO"]}],
    "not_asked": ["PEP"],
    "cost": 56200.0,
    "equity": 50000.0,
    "estimate": {"symbols": 14, "known": 3, "calls": 28, "seconds": 90.5, "provider": "yahoo"},
}  # fmt: skip


class Server:
    """Answers by method and path, and remembers what was sent."""

    def __init__(self, answers: dict[tuple[str, str], Any]) -> None:
        self.answers = answers
        self.sent: list[tuple[str, str, str]] = []

    def client(self) -> Client:
        def handle(request: httpx2.Request) -> httpx2.Response:
            path = request.url.path.removeprefix("/api/v1")
            self.sent.append((request.method, path, request.read().decode(errors="replace")))
            answer = self.answers.get((request.method, path))
            if isinstance(answer, httpx2.Response):
                return answer
            return httpx2.Response(200, json=answer) if answer else httpx2.Response(404, json={"detail": path})

        return Client("http://test", transport=httpx2.MockTransport(handle))


@pytest.fixture
def file(tmp_path: Path) -> str:
    (tmp_path / "export.csv").write_text("symbol,quantity\nKO,1\n")
    return str(tmp_path / "export.csv")


def run(monkeypatch: pytest.MonkeyPatch, server: Server, *arguments: str) -> Any:
    monkeypatch.setattr(cli, "client", server.client)
    return CliRunner().invoke(cli.app, ["import", *arguments])


@pytest.mark.parametrize("into", ["Mine", ID, ID.upper(), "01a2"])
def test_a_file_goes_into_a_portfolio_by_name_id_or_beginning(
    monkeypatch: pytest.MonkeyPatch, file: str, into: str
) -> None:
    server = Server({("GET", "/portfolios"): LISTED, ("POST", f"/portfolios/{ID}/import"): ANSWER})
    arguments = (
        "--into",
        into,
        "--map",
        "symbol=Ticker",
        "--map",
        "quantity=Shares",
        "--dialect",
        "us",
        "--on-match",
        "update",
    )
    result = run(monkeypatch, server, file, *arguments)
    assert result.exit_code == 0, result.output
    assert result.stdout.strip() == ID
    assert "Read as Charles Schwab, lot details" in result.stderr
    assert "2020-11-16" in result.stderr
    assert f"leadline import --undo {IMPORT} --into {ID}" in result.stderr
    form = server.sent[-1][2]
    assert "symbol=Ticker\nquantity=Shares" in form.replace("\r\n", "\n")
    assert 'name="on_match"' in form


def test_a_name_that_two_have_is_a_question(monkeypatch: pytest.MonkeyPatch, file: str) -> None:
    twins = {"items": [{"id": ID, "name": "Mine"}, {"id": OTHER, "name": "Mine"}], "next": None}
    result = run(monkeypatch, Server({("GET", "/portfolios"): twins}), file, "--into", "Mine")
    assert (result.exit_code, ID in result.stderr, OTHER in result.stderr) == (1, True, True)
    result = run(monkeypatch, Server({("GET", "/portfolios"): LISTED}), file, "--into", "Nobody's")
    assert (result.exit_code, "leadline status" in result.stderr) == (1, True)


def test_the_preview_shows_what_was_read_and_what_is_unknown(monkeypatch: pytest.MonkeyPatch, file: str) -> None:
    server = Server({("POST", "/portfolios/import"): PREVIEW})
    result = run(monkeypatch, server, file, "--name", "Mine", "--equity", "50000", "--dry-run")
    assert result.exit_code == 0, result.output
    for words in (
        "Coca-Cola", "1,000", "1.000 × 56,20", "56.50", "did you mean KO?", "Not asked yet", "cash -6,200.00",
        "14 symbols (3 are there), 28 calls of yahoo, 90.5 seconds",
    ):  # fmt: skip
        assert words in result.stdout, words


def test_an_import_is_taken_back_by_its_id_or_as_the_last(monkeypatch: pytest.MonkeyPatch) -> None:
    undone = {"removed": 3, "restored": 1, "warnings": []}
    items = {"items": [{"id": "x", "undone_at": "2020-12-30"}, {"id": IMPORT, "undone_at": None}]}
    server = Server({
        ("GET", "/portfolios"): LISTED, ("GET", f"/portfolios/{ID}/imports"): items,
        ("DELETE", f"/portfolios/{ID}/imports/{IMPORT}"): undone,
    })  # fmt: skip
    for which in (IMPORT, "last"):
        result = run(monkeypatch, server, "--undo", which, "--into", "Mine")
        assert (result.exit_code, result.stdout.strip()) == (0, "3 lots removed, 1 restored")


def test_twenty_errors_are_printed_and_how_many_there_are(monkeypatch: pytest.MonkeyPatch, file: str) -> None:
    errors = [{"row": n, "column": "quantity", "code": "ERR_POS_005", "message": f"m{n}"} for n in range(20)]
    body = {"detail": "12004 errors; nothing was saved.", "code": "invalid", "errors": errors, "errors_total": 12_004}
    server = Server({("POST", "/portfolios/import"): httpx2.Response(422, json=body)})
    result = run(monkeypatch, server, file, "--name", "Mine", "--equity", "50000")
    assert result.exit_code == 1
    assert "and 11,984 more" in result.stderr
    assert len(result.stderr.splitlines()) < 40


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "give a CSV file"),
        (("--undo", "last"), "--into"),
        (("FILE",), "--name and --equity"),
        (("FILE", "--into", "Mine", "--name", "x"), "leave --name"),
        (("FILE", "--into", "Mine", "--on-match", "replace"), "list or update"),
        (("FILE", "--into", "Mine", "--entry-date", "3/4/20"), "YYYY-MM-DD"),
    ],
)  # fmt: skip
def test_what_is_mistyped_is_told_before_anything_is_sent(
    monkeypatch: pytest.MonkeyPatch, file: str, arguments: tuple[str, ...], words: str
) -> None:
    server = Server({})
    result = run(monkeypatch, server, *(file if argument == "FILE" else argument for argument in arguments))
    assert (result.exit_code, server.sent) == (2, [])
    assert words in " ".join(result.stderr.replace("│", " ").split())
