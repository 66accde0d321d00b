"""`leadline benchmark`: what is sent, what is refused before anything is, and what a person reads."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx2
import pytest
from typer.testing import CliRunner

from leadline import cli
from leadline.http import Client

GOOD = "date,sector,weight\n2020-06-30,Energy,0.4\n2020-06-30,Technology,0.6\n"


def run(
    monkeypatch: pytest.MonkeyPatch, *arguments: str, answer: httpx2.Response | None = None
) -> tuple[Any, list[tuple[str, str, Any]]]:
    """The command's result, and (method, path with query, body) of every call it made."""
    asked: list[tuple[str, str, Any]] = []

    def handle(request: httpx2.Request) -> httpx2.Response:
        body = json.loads(request.content) if request.content else None
        asked.append((request.method, request.url.raw_path.decode().removeprefix("/api/v1"), body))
        if answer is not None:
            return answer
        if request.method == "GET":
            item = {
                "code": "SP500",
                "date": "2020-06-30",
                "weights": {"Energy": 0.4},
                "stated_sum": 1.005,
                "loaded_at": "…Z",
            }
            return httpx2.Response(200, json={"compared_with": "SP500", "items": [item]})
        code, day = request.url.path.split("/")[-2:]
        done = {"changed": True, "restated": {"from": "2020-07-01", "to": "2020-12-30", "units": 1234}, "run_id": "r"}
        given = {
            "code": code,
            "date": day,
            "weights": (body or {}).get("weights"),
            "stated_sum": 1.0,
            "loaded_at": None,
        }
        return httpx2.Response(200, json=given | done)

    monkeypatch.setattr(cli, "client", lambda: Client("http://test", transport=httpx2.MockTransport(handle)))
    return CliRunner().invoke(cli.app, ["benchmark", *arguments]), asked


def test_every_table_is_checked_before_one_is_saved(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "b.csv"
    file.write_text("Code,Date,Sector,Weight\nacwi,2020-06-30,Energy,1\n,2020-03-31,Energy,1\n\n")
    result, asked = run(monkeypatch, "import", str(file), "--code", "sp500")
    assert result.exit_code == 0, result.output
    body = {"weights": {"Energy": "1"}}
    assert asked == [
        ("PUT", "/benchmarks/ACWI/2020-06-30?dry_run=true", body), ("PUT", "/benchmarks/SP500/2020-03-31?dry_run=true", body),
        ("PUT", "/benchmarks/ACWI/2020-06-30?dry_run=false", body), ("PUT", "/benchmarks/SP500/2020-03-31?dry_run=false", body),
    ]  # fmt: skip
    assert "ACWI 2020-06-30: 1 sectors, sum 1.0000; loaded; risk from 2020-07-01 to 2020-12-30" in result.stdout
    assert "1,234 units" in result.stdout


def test_a_dry_run_only_checks(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "b.csv"
    file.write_text(GOOD)
    result, asked = run(monkeypatch, "import", str(file), "--dry-run")
    assert [path for _, path, _ in asked] == ["/benchmarks/SP500/2020-06-30?dry_run=true"]
    assert "2 sectors, sum 1.0000; nothing saved" in result.stdout


def test_what_the_server_refuses_saves_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "b.csv"
    file.write_text(GOOD)
    error = {
        "row": None,
        "column": "sector",
        "code": "ERR_BENCH_003",
        "message": "'Ships' is no GICS sector.",
        "value": "Ships",
    }
    refused = httpx2.Response(422, json={"detail": "1 error; nothing was saved.", "errors": [error]})
    result, asked = run(monkeypatch, "import", str(file), answer=refused)
    assert (result.exit_code, len(asked)) == (1, 1)
    assert "ERR_BENCH_003" in result.stderr


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("sector,weight\nEnergy,1\n", "no column date"),
        ("", "no column date, sector, weight"),
        ("date,sector,weight\n", "no rows"),
        ("date,sector,weight\n2020-6-30,Energy,1\n", "'2020-6-30' is not a date"),
        ("date,sector,weight\n,Energy,1\n", "'' is not a date"),
        (GOOD + "2020-06-30,Energy,0.4\n", "'Energy' is there twice for SP500 2020-06-30"),
        ('date,sector,weight\n"2020', "not readable as CSV"),
    ],
)
def test_what_only_the_file_can_say_wrong_is_not_sent(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: str, said: str
) -> None:
    file = tmp_path / "b.csv"
    file.write_text(content)
    result, asked = run(monkeypatch, "import", str(file))
    assert (result.exit_code, asked) == (1, [])
    assert said in " ".join(result.stderr.replace("│", " ").split())


def test_what_is_loaded_is_listed_and_one_is_taken_back(monkeypatch: pytest.MonkeyPatch) -> None:
    result, asked = run(monkeypatch, "list", "--code", "SP500")
    assert asked == [("GET", "/benchmarks?code=SP500", None)]
    assert "40.00 %" in result.stdout
    assert "compared with SP500" in result.stdout
    result, asked = run(monkeypatch, "remove", "SP500", "2020-06-30")
    assert asked == [("DELETE", "/benchmarks/SP500/2020-06-30", None)]
    assert "SP500 2020-06-30: taken back; risk from 2020-07-01" in result.stdout
    result, asked = run(monkeypatch, "remove", "SP500", "2020-06-31")
    assert (result.exit_code, asked) == (2, [])
    assert json.loads(run(monkeypatch, "list", "--json")[0].stdout)["compared_with"] == "SP500"
