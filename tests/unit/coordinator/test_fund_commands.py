"""`leadline fund`, `look-through` and `sectors`: what is sent, and what a person reads."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx2
import pytest
from typer.testing import CliRunner

from leadline import cli
from leadline.http import Client

ID = "11111111-1111-1111-1111-111111111111"
ORIGIN = {"session": "2020-12-30", "reasons": []}
LIST = {
    "symbol": "VTI", "date": "2020-06-30", "told": 0.8, "loaded_at": None, "changed": True,
    "holdings": [{"symbol": "AAPL", "weight": 0.5, "sector": None}, {"symbol": "XOM", "weight": 0.3, "sector": "Energy"}],
}  # fmt: skip
SIDES = {"direct": 0.1, "through": 0.4, "long": 0.5, "short": 0.0, "net": 0.5, "gross": 0.5}
ANSWERS = {
    f"/portfolios/{ID}/look-through": ORIGIN | {
        "looked_through": 0.8, "names": 41, "concentration": {"hhi": 500, "effective": 20.0, "top_3": 0.3, "top_10": 0.6},
        "funds": [{"symbol": "VTI", "market_value": 1, "weight": 0.5, "as_of": "2020-06-30", "holdings": 40, "told": 0.8, "reason": None}],
        "sectors": [{"sector": "Energy"} | SIDES],
        "items": [{"symbol": "XOM", "sector": "Energy", "direct": 0.0, "through": 120.0, "money": 120.0, "weight": 0.012}],
    },
    f"/portfolios/{ID}/sector-exposures": ORIGIN | {
        "market": "SPY", "covered_weight": 1.0,
        "items": [
            {"sector": "Energy", "fund": "XLE", "beta": 0.31, "stderr_hac": 0.05, "t_hac": 6.2, "r2": 0.8, "n_obs": 252, "money": 310.0,
             "reason": None},
            {"sector": "Utilities", "fund": "XLU", "beta": None, "stderr_hac": None, "t_hac": None, "r2": None, "n_obs": 0, "money": None,
             "reason": "no_sector_fund"},
        ],
    },
    "/funds": {"items": [LIST]},
}  # fmt: skip


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> tuple[Any, list[tuple[str, str, Any]]]:
    """The command's result, and (method, path with query, body) of every call it made."""
    asked: list[tuple[str, str, Any]] = []

    def handle(request: httpx2.Request) -> httpx2.Response:
        body = json.loads(request.content) if request.content else None
        asked.append((request.method, request.url.raw_path.decode().removeprefix("/api/v1"), body))
        return httpx2.Response(200, json=ANSWERS.get(request.url.path.removeprefix("/api/v1"), LIST))

    monkeypatch.setattr(cli, "client", lambda: Client("http://test", transport=httpx2.MockTransport(handle)))
    return CliRunner().invoke(cli.app, list(arguments), env={"COLUMNS": "160"}), asked


def test_a_list_is_sent_as_the_file_has_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "vti.csv"
    file.write_text("Symbol,Weight,Sector\naapl,0.5,\nXOM,0.3,Energy\n\n")
    result, asked = run(monkeypatch, "fund", "import", "VTI", "2020-06-30", str(file))
    assert result.exit_code == 0, result.output
    rows = [{"symbol": "aapl", "weight": "0.5", "sector": ""}, {"symbol": "XOM", "weight": "0.3", "sector": "Energy"}]
    assert asked == [("PUT", "/funds/VTI/holdings/2020-06-30?dry_run=false", {"holdings": rows})]
    assert "VTI 2020-06-30: 2 holdings, 80.00 % told; loaded" in result.stdout
    assert "nothing saved" in run(monkeypatch, "fund", "import", "VTI", "2020-06-30", str(file), "--dry-run")[0].stdout


@pytest.mark.parametrize(
    ("content", "part"), [("name,weight\nA,1\n", "no column symbol"), ("symbol,weight\n", "no rows")]
)
def test_a_file_without_holdings_is_refused_before_anything_is_sent(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: str, part: str
) -> None:
    file = tmp_path / "x.csv"
    file.write_text(content)
    result, asked = run(monkeypatch, "fund", "import", "VTI", "2020-06-30", str(file))
    assert (result.exit_code, asked) == (1, [])
    assert part in result.output


def test_lists_are_shown_and_taken_back(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "80.00 %" in run(monkeypatch, "fund", "list")[0].stdout
    result, asked = run(monkeypatch, "fund", "remove", "VTI", "2020-06-30")
    assert (result.exit_code, asked) == (0, [("DELETE", "/funds/VTI/holdings/2020-06-30", None)])


def test_what_stands_behind_is_read_by_sector_and_name(monkeypatch: pytest.MonkeyPatch) -> None:
    said = run(monkeypatch, "look-through", ID)[0].stdout
    for part in ("VTI", "2020-06-30", "Energy", "XOM", "1 of 41", "Effective names 20.0", "80.0 % is looked through"):
        assert part in said, part


def test_sectors_have_their_funds_errors_and_reasons(monkeypatch: pytest.MonkeyPatch) -> None:
    said = run(monkeypatch, "sectors", ID)[0].stdout
    for part in ("beside SPY", "XLE", "0.31", "6.2", "no sector fund"):
        assert part in said, part
