"""Commands about portfolios by name, their files, their results, and the ledger: what is asked of the server, and what is printed."""

from __future__ import annotations

import csv
import io
import json
import zipfile
from pathlib import Path
from typing import Any

import httpx2
import pytest
from typer.testing import CliRunner

from leadline import cli, export, names
from leadline.http import Client, Failed

ID = "01a20058-0000-7000-8000-000000000001"
OTHER = "02b30058-0000-7000-8000-000000000002"
LOT = {
    "id": OTHER, "symbol": "AAPL", "quantity": 400.0, "entry_date": "2020-08-28", "entry_session": "2020-08-28",
    "entry_price": 125.0, "exit_date": None, "exit_price": None, "investment_class": "PUBLIC", "name": 'A, "B"', "sector": None,
    "price_basis": "as_traded", "stated_quantity": 100.0, "stated_entry_price": 500.0, "stated_exit_price": None,
}  # fmt: skip
FLOW = {
    "id": OTHER,
    "date": "2020-12-22",
    "session": "2020-12-22",
    "amount": -1234567.5,
    "note": None,
    "created_at": "",
}
PORTFOLIO = {
    "id": ID, "name": "My [red]book", "currency": "USD", "account_type": "ira", "equity_balance": 1e-05, "positions": [LOT],
    "flows": [FLOW],
}  # fmt: skip
LISTED = {"items": [{"id": ID, "name": "My [red]book"}, {"id": OTHER, "name": "Other"}], "next": None}


class Server:
    """Answers by method and path; remembers what came."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **answers: Any) -> None:
        self.answers: dict[tuple[str, ...], Any] = {
            ("GET", "/api/v1/portfolios"): LISTED,
            ("GET", f"/api/v1/portfolios/{ID}"): PORTFOLIO,
        }
        self.answers |= {tuple(key.split(" ")): answer for key, answer in answers.items()}
        self.sent: list[tuple[str, str, dict[str, str], Any]] = []
        monkeypatch.setattr(cli, "client", self.client)

    def client(self) -> Client:
        return Client("http://test", transport=httpx2.MockTransport(self.handle))

    def handle(self, request: httpx2.Request) -> httpx2.Response:
        body = json.loads(request.content) if request.content else None
        self.sent.append((request.method, request.url.path, dict(request.url.params), body))
        answer = self.answers.get((request.method, request.url.path))
        if answer is None:
            return httpx2.Response(404, json={"detail": f"nothing at {request.url.path}", "code": "not_found"})
        if isinstance(answer, str):
            return httpx2.Response(200, text=answer)
        return httpx2.Response(200, json=answer)

    def run(self, *arguments: str) -> Any:
        return CliRunner().invoke(cli.app, list(arguments))


def path(rest: str, method: str = "GET") -> str:
    return f"{method} /api/v1{rest}"


@pytest.mark.parametrize(
    "given", [ID, ID.upper(), "01a2", "My [red]book", "my [red]BOOK", "my", "Other", "OTH", "02b30058"]
)
def test_a_portfolio_is_named_by_id_name_or_the_beginning_of_either(
    monkeypatch: pytest.MonkeyPatch, given: str
) -> None:
    with Server(monkeypatch).client() as api:
        assert names.portfolio_of(api, given) == (OTHER if given.lower().startswith(("o", "02")) else ID)


@pytest.mark.parametrize("given", ["", "01a", "nobody's", "book"])
def test_no_portfolio_is_said_with_the_remedy(monkeypatch: pytest.MonkeyPatch, given: str) -> None:
    with Server(monkeypatch).client() as api, pytest.raises(Failed, match="leadline status"):
        names.portfolio_of(api, given)


def test_a_name_counts_before_the_beginning_of_another(monkeypatch: pytest.MonkeyPatch) -> None:
    twins = {"items": [{"id": ID, "name": "Book"}, {"id": OTHER, "name": "Book 2"}], "next": None}
    with Server(monkeypatch, **{path("/portfolios"): twins}).client() as api:
        assert names.portfolio_of(api, "Book") == ID
        with pytest.raises(Failed, match=r"2 portfolios are named 'boo'"):
            names.portfolio_of(api, "boo")


@pytest.mark.parametrize("command", [("status",), ("show",), ("lots",), ("rerun", "--what", "all"), ("explain",)])
def test_commands_take_a_name(monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]) -> None:
    server = Server(monkeypatch)
    server.run(command[0], "my", *command[1:])
    asked = server.sent[1]
    assert ID in asked[1] + asked[2].get("portfolio_id", ""), server.sent


def test_a_run_is_named_by_the_beginning_of_its_id(monkeypatch: pytest.MonkeyPatch) -> None:
    runs = {"items": [{"id": ID}, {"id": OTHER}], "next": None}
    with Server(monkeypatch, **{path("/admin/runs"): runs}).client() as api:
        assert names.run_of(api, "01A2") == ID
        with pytest.raises(Failed, match="leadline runs"):
            names.run_of(api, "9999")


def test_completion_offers_names_and_ids_and_is_silent_without_a_server(monkeypatch: pytest.MonkeyPatch) -> None:
    server = Server(monkeypatch)
    monkeypatch.setattr(names, "Client", server.client)
    assert names.completions("ot") == [("Other", OTHER)]
    assert names.completions("01") == [(ID, "My [red]book")]
    server.answers.clear()
    assert names.completions("ot") == []


def test_version_and_short_help() -> None:
    told = CliRunner().invoke(cli.app, ["--version"])
    assert (told.exit_code, told.stdout.split()[0], told.stdout.count("\n")) == (0, "leadline", 1)
    for arguments in (["-h"], ["show", "-h"], ["symbols", "release", "-h"]):
        assert "Usage" in CliRunner().invoke(cli.app, arguments).stdout


def test_lots_flows_and_their_removal(monkeypatch: pytest.MonkeyPatch) -> None:
    base = f"/portfolios/{ID}"
    server = Server(
        monkeypatch,
        **{
            path(f"{base}/flows"): {"items": [FLOW]},
            path(f"{base}/flows", "POST"): {"flow_id": "f1"},
            path(f"{base}/flows/{OTHER}", "DELETE"): {},
            path(f"{base}/positions/{OTHER}", "DELETE"): {},
        },
    )
    assert OTHER in server.run("lots", "my").stdout
    assert "-1,234,567.50" in server.run("flows", "my").stdout
    assert server.run("flows", "my", "--add", "-5", "--date", "2020-12-22").stdout == "f1\n"
    assert server.sent[-1][3] == {"date": "2020-12-22", "amount": "-5", "note": None}
    assert server.run("flows", "my", "--remove", OTHER).exit_code == 0
    assert server.run("lots", "my", "--remove", OTHER).exit_code == 0
    assert [sent[0] for sent in server.sent].count("DELETE") == 2
    for mistyped in (("--add", "5"), ("--date", "2020-12-22"), ("--add", "x", "--date", "2020-12-22")):
        assert server.run("flows", "my", *mistyped).exit_code == 2


def test_deleting_and_settling_do_nothing_without_yes(monkeypatch: pytest.MonkeyPatch) -> None:
    basis = {"name": "b", "positions": 2, "changed": 1, "warnings": []}
    server = Server(
        monkeypatch,
        **{path(f"/portfolios/{ID}", "DELETE"): {}, path(f"/portfolios/{ID}/price-basis", "POST"): basis},
    )
    assert "give --yes" in server.run("delete", "my").stdout
    assert all(sent[0] == "GET" for sent in server.sent)
    assert "is deleted" in server.run("delete", "my", "--yes").stdout
    assert server.sent[-1][:2] == ("DELETE", f"/api/v1/portfolios/{ID}")
    assert "give --yes" in server.run("price-basis", "my", "--basis", "as_traded").stdout
    assert server.sent[-1][2] == {"basis": "as_traded", "dry_run": "true"}
    assert "1 lots, saved" in server.run("price-basis", "my", "--yes").stdout
    assert server.sent[-1][2]["dry_run"] == "false"


def test_rename_resolve_and_reconcile_send_what_was_said(monkeypatch: pytest.MonkeyPatch) -> None:
    server = Server(
        monkeypatch,
        **{
            path(f"/portfolios/{ID}", "PATCH"): {"id": ID, "name": "New"},
            path("/symbols/FB/resolve", "POST"): {"symbol": "META"},
            path("/admin/reconcile", "POST"): {"accepted": True},
        },
    )
    assert server.run("rename", "my", "New").stdout == f"{ID} is now New\n"
    assert server.sent[-1][3] == {"name": "New"}
    assert server.run("resolve", "FB", "--to", "META", "--valid-from", "2022-06-09").exit_code == 0
    assert server.sent[-1][3] == {"symbol": "META", "valid_from": "2022-06-09", "valid_to": None}
    assert server.run("reconcile").exit_code == 0


def test_an_audit_with_differences_exits_1(monkeypatch: pytest.MonkeyPatch) -> None:
    good = {"as_of": "2020-12-30", "units": 28, "portfolios": 1, "ok": True, "drift": [], "drift_total": 0}
    drift = {
        "kind": "missing_row",
        "phase": "risk",
        "session": "2020-12-30",
        "portfolio_id": ID,
        "units": 1,
        "detail": "gone",
    }
    server = Server(monkeypatch, **{path("/admin/audit"): good})
    assert server.run("audit").exit_code == 0
    server.answers["GET", "/api/v1/admin/audit"] = good | {"ok": False, "drift": [drift], "drift_total": 1}
    found = server.run("audit", "--portfolio", "my")
    assert (found.exit_code, "gone" in found.stdout, server.sent[-1][2]) == (1, True, {"portfolio_id": ID})


def test_restatements_say_why_and_prices_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    group = {
        "replaced_at": "2021-01-02T00:00:00Z", "from": "2020-12-21", "to": "2020-12-30", "sessions": 7, "nav_moved": -1234567.891,
        "summary": "close of JPM: 1 → 2",
    }  # fmt: skip
    changed = {"session": "2020-12-30", "replaced_at": "x", "old": None, "new": 0.25}
    prices = {
        "symbol": "KO", "items": [{"session": "2020-12-30", "provider": "file", "close": 0.00123456, "adj_close": None}],
        "gaps": [{"from": "2020-12-28", "to": "2020-12-29", "reason": "no_trade"}],
    }  # fmt: skip
    server = Server(
        monkeypatch,
        **{
            path(f"/portfolios/{ID}/restatements/causes"): {"items": [group], "next": None},
            path(f"/portfolios/{ID}/restatements"): {"items": [changed], "next": "c"},
            path("/symbols/KO/prices"): prices,
        },
    )
    told = server.run("restatements", "my", "--from", "2020-12-01").stdout
    assert "-1,234,567.89" in told
    assert "close of JPM: 1 → 2" in told
    one = server.run("restatements", "my", "-f", "snapshots.nav")
    assert "0.250000" in one.stdout
    assert "There are more" in one.stderr
    shown = server.run("prices", "KO").stdout
    assert "no_trade" in shown
    assert "0.001235" in shown


def test_a_report_is_saved_as_the_server_made_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    server = Server(monkeypatch, **{f"GET /report/{ID}": "<!doctype html>é"})
    file = tmp_path / "sheet.html"
    assert server.run("report", "my", "-o", str(file)).exit_code == 0
    assert file.read_text(encoding="utf-8") == "<!doctype html>é"
    assert server.sent[-1][2] == {"inline": "true"}


@pytest.mark.parametrize("kind", ["directory", "portfolio.zip"])
def test_an_export_has_the_numbers_that_were_entered(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, kind: str
) -> None:
    assert Server(monkeypatch).run("export", "my", "-o", str(tmp_path / kind)).exit_code == 0
    if kind == "directory":
        written = {file.name: file.read_text() for file in (tmp_path / kind).iterdir()}
    else:
        with zipfile.ZipFile(tmp_path / kind) as archive:
            written = {name: archive.read(name).decode() for name in archive.namelist()}
    row = next(csv.DictReader(io.StringIO(written["positions.csv"])))
    assert (row["quantity"], row["entry_price"], row["price_basis"]) == ("100.0", "500.0", "as_traded")
    assert row["name"] == 'A, "B"'
    body = json.loads(written["portfolio.json"])
    assert (body["equity_balance"], body["account_type"]) == (1e-05, "ira")
    assert body["flows"] == [{"date": "2020-12-22", "amount": -1234567.5, "note": None}]
    assert body["positions"][0]["quantity"] == 100.0


def test_an_exported_table_has_no_exponents() -> None:
    small = export.files(PORTFOLIO | {"positions": [LOT | {"stated_quantity": 1e-07}]})["positions.csv"]
    assert "0.0000001" in small


def test_an_exported_document_is_imported_as_a_new_portfolio(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    imported = {"id": OTHER, "name": "Copy", "positions": 1, "warnings": []}
    server = Server(monkeypatch, **{path("/portfolios", "POST"): imported})
    server.run("export", "my", "-o", str(tmp_path))
    file = str(tmp_path / "portfolio.json")
    assert server.run("import", file, "--name", "Copy").stdout == f"{OTHER}\n"
    sent = server.sent[-1][3]
    assert (sent["name"], sent["equity_balance"], len(sent["positions"]), len(sent["flows"])) == ("Copy", 1e-05, 1, 1)
    for mistyped in (("--into", "my"), ("--dry-run",)):
        assert server.run("import", file, *mistyped).exit_code == 2
    for words in ("[]", "{"):
        (tmp_path / "portfolio.json").write_text(words)
        refused = server.run("import", file)
        assert (refused.exit_code, "portfolio.json" in refused.stderr.replace("\n", "")) == (1, True)
