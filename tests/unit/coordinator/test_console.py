"""The command line against canned answers: exit codes, one JSON document, and tables that never invent a number."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest
from rich.console import Console
from typer.testing import CliRunner

from leadline import cli
from leadline.http import Client
from leadline.tables import overview, text

ID = "01a20058-0000-7000-8000-000000000001"
PHASE = {"expected": 7, "completed": 7}
STATUS: dict[str, Any] = {
    "id": ID, "state": "complete", "processed": 1.0, "coverage_min": 1.0, "coverage_gate": 0.8, "needs_you": [],
    "complete_to": "2020-12-30", "as_of": "2020-12-30", "first_session": "2020-12-21", "last_session": "2020-12-30",
    "expected": 28, "completed": 28, "partial": 0, "phases": dict.fromkeys(overview.PHASES, PHASE), "holes": [],
    "holes_total": 0, "partials": [], "partials_total": 0,
}  # fmt: skip
HOLE = {
    "from": "2020-12-22", "to": "2020-12-23", "phase": "risk", "state": "blocked", "reason": "ValueError: division_by_zero",
    "reasons": [], "symbols": [],
    "attempts": 8, "next_at": None,
}  # fmt: skip
ENV = {
    "portfolio_id": ID, "session": "2020-12-30", "revision": 1, "model_version": "1", "computed_at": "2021-01-01T00:00:00Z",
    "quality": "partial", "coverage": 1.0, "stale": False,
    "reasons": [{"figure": "rates", "symbol": None, "reason": "no_proxy"}],
}  # fmt: skip
SIDES = {"long": 0.5, "short": -0.1, "net": 0.4, "gross": 0.6, "benchmark": None, "active": None}
ANSWERS: dict[str, Any] = {
    f"/portfolios/{ID}": {"id": ID, "name": "A [red]b", "currency": "USD", "positions": [], "flows": []},
    f"/portfolios/{ID}/status": STATUS,
    f"/portfolios/{ID}/snapshots": {
        "items": [
            dict.fromkeys(
                ("nav", "cash", "daily_pnl", "cumulative_pnl", "realized_pnl", "unrealized_pnl", "dividends", "long_value",
                 "short_value", "gross_exposure", "net_exposure"), 1234.5,
            )
            | dict.fromkeys(("daily_return", "cumulative_return", "mtd_return", "ytd_return", "drawdown", "coverage"))
            | {"session": "2020-12-30", "reasons": []}
        ]
    },
    f"/portfolios/{ID}/positions": ENV
    | {
        "items": [
            {
                "symbol": "MSFT", "quantity": 0.0, "price": None, "market_value": 0.0, "weight": 0.0, "daily_pnl": -1.0,
                "cumulative_pnl": 2.0, "reason": None,
            }
        ]
    },
    f"/portfolios/{ID}/factor-exposures": ENV
    | {
        "proxies": {"market": "^GSPC", "rates": None},
        "factors": [
            {"factor": "market", "set": "joint", "beta": 1.02, "money": 5.0, "covered_weight": 1.0, "quality": "full", "reason": None},
            {"factor": "rates", "set": "joint", "beta": None, "money": None, "covered_weight": 0, "quality": "none", "reason": "no_proxy"},
        ],
        "positions": [],
    },
    f"/portfolios/{ID}/risk": ENV
    | {
        "volatility": {"realized_21": 0.2, "realized_63": None, "realized_252": 0.3, "forecast_21": {"value": None}},
        "beta": {"aggregated": 0.9, "realized": None},
        "var": [],
        "sectors": [{"sector": "Energy", **SIDES}],
    },
}  # fmt: skip


def answering(answers: dict[str, Any]) -> Callable[[], Client]:
    def handle(request: httpx2.Request) -> httpx2.Response:
        path = request.url.path.removeprefix("/api/v1")
        if path not in answers:
            return httpx2.Response(404, json={"detail": f"nothing at {path}", "code": "not_found"})
        answer = answers[path]
        if isinstance(answer, httpx2.Response):
            return answer
        return httpx2.Response(200, json=answer)

    return lambda: Client("http://test", transport=httpx2.MockTransport(handle))


def run(monkeypatch: pytest.MonkeyPatch, answers: dict[str, Any], *arguments: str) -> Any:
    monkeypatch.setattr(cli, "client", answering(answers))
    return CliRunner().invoke(cli.app, list(arguments))


def test_a_complete_status_exits_0_and_a_hole_exits_3(monkeypatch: pytest.MonkeyPatch) -> None:
    good = run(monkeypatch, ANSWERS, "status", ID)
    assert (good.exit_code, "100 %" in good.stdout) == (0, True)
    holes = STATUS | {"state": "blocked", "completed": 26, "holes": [HOLE], "holes_total": 1}
    bad = run(monkeypatch, ANSWERS | {f"/portfolios/{ID}/status": holes}, "status", ID, "--watch")
    assert bad.exit_code == 3
    assert "division_by_zero" in bad.stdout
    assert "2020-12-22" in bad.stdout


def test_watching_ends_when_nothing_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli, "WATCH_SECONDS", 0.0)
    seen = iter([STATUS | {"state": "healing", "completed": done} for done in (0, 14)] + [STATUS])
    monkeypatch.setattr(cli, "_status", lambda *_: next(seen))
    result = run(monkeypatch, {}, "status", ID, "--watch")
    assert result.exit_code == 0
    assert [share in result.stdout for share in ("0.0 %", "50.0 %", "100 %")] == [True] * 3


def test_status_of_all_is_as_bad_as_the_worst(monkeypatch: pytest.MonkeyPatch) -> None:
    def items(*states: str) -> dict[str, Any]:
        rows = [
            {"id": str(n), "name": "n", "state": state, "first_session": None, "positions": 1}
            for n, state in enumerate(states)
        ]
        return {"/portfolios": {"items": rows, "next": None}}

    assert run(monkeypatch, items("complete", "complete"), "status").exit_code == 0
    assert run(monkeypatch, items(), "status").exit_code == 0
    assert run(monkeypatch, items("complete", "healing"), "status").exit_code == 3
    assert run(monkeypatch, items("blocked"), "status", "--json").exit_code == 3
    assert run(monkeypatch, items("partial", "healing"), "status").exit_code == 3


NEED = {
    "figure": None, "symbol": "TWTR", "reason": "not_found", "severity": "nav", "acts": "you", "until": None, "provider": "file",
    "remedy": "Correct the symbol, or add a source that has it",
}  # fmt: skip


@pytest.mark.parametrize(("coverage", "code"), [(0.93, 0), (0.8, 0), (0.79, 4), (0.036, 4), (None, 4)])
def test_a_partial_book_exits_by_its_coverage(
    monkeypatch: pytest.MonkeyPatch, coverage: float | None, code: int
) -> None:
    of = {"state": "partial", "coverage_min": coverage, "coverage_gate": 0.8}
    alone = run(monkeypatch, {f"/portfolios/{ID}/status": STATUS | of | {"needs_you": [NEED]}}, "status", ID)
    assert alone.exit_code == code
    assert "partial" in alone.stdout
    assert "TWTR: not found. Correct the symbol, or add a source that has it." in alone.stdout
    line = {
        "id": ID,
        "name": "n",
        "first_session": None,
        "positions": 1,
        "needs_you": 1,
        "complete_to": "2020-12-30",
    } | of
    listed = run(monkeypatch, {"/portfolios": {"items": [line], "next": None}}, "status")
    assert listed.exit_code == code
    assert "2020-12-30" in listed.stdout
    assert ("93.0 %" in listed.stdout) is (coverage == 0.93)


REFUSAL = {
    "provider": "yahoo", "reason": "rate_limited", "until": "2020-12-30T19:50:00+00:00", "said": "yahoo: limit reached [429]",
    "said_at": "2020-12-30T19:35:00+00:00",
}  # fmt: skip


def test_who_refuses_is_named_with_its_words_and_when_it_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    line = {"id": ID, "name": "n", "state": "healing", "first_session": None, "positions": 1}
    listed = run(monkeypatch, {"/portfolios": {"items": [line], "next": None, "refusals": [REFUSAL]}}, "status")
    of = STATUS | {
        "refusals": [REFUSAL],
        "curve": {"date": "2020-11-02", "provider": "treasury", "fault": "treasury: timeout", "asked_at": None},
    }
    alone = run(monkeypatch, {f"/portfolios/{ID}/status": of}, "status", ID)
    for shown in (listed.stdout, alone.stdout):
        said = "yahoo is not asked until 2020-12-30 19:50:00 UTC (rate limited): yahoo: limit reached [429]"
        assert said in " ".join(shown.split())
    assert "yield curve: the newest is of 2020-11-02; treasury: timeout" in alone.stdout
    fine = run(monkeypatch, {f"/portfolios/{ID}/status": STATUS}, "status", ID).stdout
    assert "not asked" not in fine
    assert "yield curve" not in fine


def test_show_begins_with_the_state_and_what_needs_you(monkeypatch: pytest.MonkeyPatch) -> None:
    of = STATUS | {"state": "partial", "coverage_min": 0.5, "needs_you": [NEED]}
    shown = run(monkeypatch, ANSWERS | {f"/portfolios/{ID}/status": of}, "show", ID).stdout
    assert "partial, coverage 50.0 % at its lowest" in shown.splitlines()[1]
    assert "TWTR: not found" in shown.splitlines()[3]


def test_json_is_one_document(monkeypatch: pytest.MonkeyPatch) -> None:
    assert json.loads(run(monkeypatch, ANSWERS, "status", ID, "--json").stdout) == STATUS
    shown = json.loads(run(monkeypatch, ANSWERS, "show", ID, "--json").stdout)
    assert shown["session"] == "2020-12-30"
    assert shown["stress"] is None
    assert shown["snapshot"]["nav"] == 1234.5


def test_the_picture_shows_figures_dashes_and_reasons() -> None:
    out = io.StringIO()
    with answering(ANSWERS)() as client:
        overview.render_risk_overview(Console(file=out, width=140), client, ID)
    shown = out.getvalue()
    for expected in (
        "A [red]b",
        "1,234.50",
        "Energy",
        "20.0 %",
        "1.02",
        "no proxy: rates",
        "closed",
        "100 %",
        "28 of 28",
    ):
        assert expected in shown, expected
    assert "None" not in shown
    assert "nan" not in shown.lower()


def test_a_picture_without_results_says_so() -> None:
    out = io.StringIO()
    few = {key: value for key, value in ANSWERS.items() if key in (f"/portfolios/{ID}", f"/portfolios/{ID}/status")}
    with answering(few)() as client:
        overview.render_risk_overview(Console(file=out, width=140), client, ID)
    assert "No session is complete yet" in out.getvalue()


def test_import_prints_the_id_and_warnings_apart(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "p.csv"
    file.write_text("symbol\n")
    warning = {"row": 2, "column": "symbol", "code": "ERR_POS_023", "message": "twice [x]", "value": None}
    answer = {"/portfolios/import": {"id": ID, "name": "A", "positions": 1, "warnings": [warning]}}
    result = run(monkeypatch, answer, "import", str(file), "--name", "A", "--equity", "1000")
    assert (result.exit_code, result.stdout) == (0, ID + "\n")
    assert "twice [x]" in result.stderr


def test_errors_are_a_table_and_exit_code_1(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "p.csv"
    file.write_text("symbol\n")
    error = {"row": 3, "column": "quantity", "code": "ERR_POS_006", "message": "quantity is zero", "value": "0"}
    refused = httpx2.Response(422, json={"detail": "1 error; nothing was saved.", "errors": [error]})
    result = run(monkeypatch, {"/portfolios/import": refused}, "import", str(file), "--name", "A", "--equity", "1")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "ERR_POS_006" in result.stderr
    assert "nothing was saved" in result.stderr


def test_a_symbols_figure_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = {"kind": "price", "symbol": "BRK.B", "from": "2020-12-29", "to": "2020-12-30", "provider": "file", "price_version": 77,
             "fetched_at": "2020-12-31T00:00:00Z", "revision": None}  # fmt: skip
    answer = {
        "symbol": "BRK.B", "session": "2020-12-30", "model_version": "1", "price_version": 77, "computed_at": "2020-12-31T01:00:00Z",
        "quality": "full", "stale": True, "figure": "factors.market_beta.beta", "value": 1.25, "formula": "OLS [x]",
        "parameters": {"window": 252}, "steps": [], "inputs": [entry], "no_inputs": None,
    }  # fmt: skip
    asked = ("explain", "--symbol", "BRK.B", "-f", "factors.market_beta.beta")
    shown = run(monkeypatch, {"/symbols/BRK.B/explain": answer}, *asked)
    assert shown.exit_code == 0, shown.output
    for expected in ("= 1.25", "OLS [x]", "price version 77", "behind what is required now", "window = 252", "file"):
        assert expected in shown.stdout
    assert "revision" not in shown.stdout
    bare = run(
        monkeypatch,
        {"/symbols/BRK.B/explain": answer | {"inputs": [], "no_inputs": "There was no word of a provider."}},
        *asked,
    )
    assert "There was no word of a provider." in bare.stdout


def test_usage_errors_exit_2(monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(monkeypatch, {}, "import", "does-not-exist.csv", "--name", "A", "--equity", "1").exit_code == 2
    assert run(monkeypatch, {}, "rerun", ID).exit_code == 2
    assert run(monkeypatch, {}, "rerun", ID, "--what", "everything").exit_code == 2


@pytest.mark.parametrize(
    "arguments",
    [
        ("show", ID, "--session", "2020-13-01"),
        ("show", ID, "--session", "20201201"),
        ("explain", ID, "--session", "yesterday"),
        ("explain",),
        ("explain", ID, "--symbol", "AAPL"),
        ("rerun", ID, "--what", "all", "--from", "2020-12-xx"),
        ("rerun", ID, "--what", "all", "--from", "2020-12-02", "--to", "2020-12-01"),
        ("import", __file__, "--name", "A", "--equity", "abc"),
        ("import", __file__, "--name", "A", "--equity", "nan"),
    ],
)
def test_what_is_mistyped_exits_2_and_is_not_sent(monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]) -> None:
    def unsent() -> Client:
        raise AssertionError("asked the server")

    monkeypatch.setattr(cli, "client", unsent)
    result = CliRunner().invoke(cli.app, list(arguments))
    assert (result.exit_code, result.stdout) == (2, "")


def test_a_failure_with_json_is_one_document_too(monkeypatch: pytest.MonkeyPatch) -> None:
    problem = {
        "type": "about:blank",
        "title": "Invalid",
        "status": 422,
        "detail": "1 error.",
        "code": "invalid",
        "errors": [],
    }
    refused = httpx2.Response(422, json=problem)
    result = run(monkeypatch, {f"/portfolios/{ID}/status": refused}, "status", ID, "--json")
    assert (result.exit_code, json.loads(result.stdout)) == (1, problem)
    assert "1 error." in result.stderr
    broken = httpx2.Response(502, text="<html>")
    result = run(monkeypatch, {f"/portfolios/{ID}/status": broken}, "status", ID, "--json")
    document = json.loads(result.stdout)
    assert (result.exit_code, document["status"], "502" in document["detail"]) == (1, 502, True)
    assert run(monkeypatch, {f"/portfolios/{ID}/status": refused}, "status", ID).stdout == ""


def test_showing_a_day_that_is_no_session_fails_with_what_the_server_says(monkeypatch: pytest.MonkeyPatch) -> None:
    said = httpx2.Response(404, json={"detail": "2020-12-26 is not a trading day.", "code": "not_a_session"})
    answers = ANSWERS | {f"/portfolios/{ID}/risk": said}
    result = run(monkeypatch, answers, "show", ID, "--session", "2020-12-26")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "not a trading day" in result.stderr


def test_a_session_that_is_not_complete_is_not_taken_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    few = {key: ANSWERS[key] for key in (f"/portfolios/{ID}", f"/portfolios/{ID}/status")}
    few[f"/portfolios/{ID}/snapshots"] = {"items": []}
    result = run(monkeypatch, few, "show", ID, "--session", "2020-12-30")
    assert "Session 2020-12-30 is not complete yet" in result.stdout
    assert "No session" not in result.stdout


def test_a_server_that_is_not_there_is_said_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(request: httpx2.Request) -> httpx2.Response:
        raise httpx2.ConnectError("refused", request=request)

    monkeypatch.setattr(cli, "client", lambda: Client("http://test", transport=httpx2.MockTransport(refuse)))
    result = CliRunner().invoke(cli.app, ["status"])
    assert result.exit_code == 1
    assert "leadline up" in result.stderr


def test_rerun_asks_as_the_cli(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[dict[str, str]] = []

    def handle(request: httpx2.Request) -> httpx2.Response:
        asked.append(dict(request.url.params))
        return httpx2.Response(202, json={"run_id": "r", "rejected": []})

    monkeypatch.setattr(cli, "client", lambda: Client("http://test", transport=httpx2.MockTransport(handle)))
    result = CliRunner().invoke(cli.app, ["rerun", ID, "--what", "all", "--phase", "risk", "--from", "2020-12-21"])
    assert (result.exit_code, result.stdout) == (0, "r\n")
    assert asked == [{"portfolio_id": ID, "start_date": "2020-12-21", "phase": "risk", "what": "all", "source": "cli"}]


HELD = {
    "symbol": "AAPL", "session": "2020-12-30", "state": "held", "provider": "yahoo", "second": "fmp", "return": -0.75,
    "second_return": None, "sigma": 0.02, "reason": None,
}  # fmt: skip


def test_held_prices_are_a_table_or_one_document(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = {"/symbols/quarantined": {"items": [HELD], "next": None}}
    shown = run(monkeypatch, answers, "symbols", "quarantined")
    assert shown.exit_code == 0
    assert all(part in shown.stdout for part in ("AAPL", "2020-12-30", "held", "-75.00 %", "fmp", "–"))
    assert json.loads(run(monkeypatch, answers, "symbols", "quarantined", "--json").stdout) == {"items": [HELD]}


@pytest.mark.parametrize("decision", ["release", "reject"])
def test_a_decision_says_why_and_who(monkeypatch: pytest.MonkeyPatch, decision: str) -> None:
    sent: list[Any] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        sent.append((request.url.path, json.loads(request.content)))
        return httpx2.Response(200, json=HELD | {"state": "decided"})

    monkeypatch.setattr(cli, "client", lambda: Client(transport=httpx2.MockTransport(answer)))
    monkeypatch.setattr("getpass.getuser", lambda: "somebody")
    arguments = ["symbols", decision, "BRK.B", "2020-12-30", "--reason", "split"]
    result = CliRunner().invoke(cli.app, arguments)
    assert (result.exit_code, result.stdout) == (0, "AAPL 2020-12-30 is decided\n")
    CliRunner().invoke(cli.app, [*arguments, "--by", "me"])
    path = f"/api/v1/symbols/BRK.B/quarantine/2020-12-30/{decision}"
    assert sent == [(path, {"reason": "split", "by": "somebody"}), (path, {"reason": "split", "by": "me"})]
    assert CliRunner().invoke(cli.app, arguments[:-2]).exit_code == 2, "without a reason nothing is decided"


def test_the_token_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEADLINE_TOKEN", "t")
    monkeypatch.setenv("LEADLINE_URL", "http://elsewhere/")
    seen: list[httpx2.Request] = []

    def handle(request: httpx2.Request) -> httpx2.Response:
        seen.append(request)
        return httpx2.Response(200, json={"items": [], "next": None})

    with Client(transport=httpx2.MockTransport(handle)) as client:
        assert client.pages("/portfolios") == []
    assert (str(seen[0].url), seen[0].headers["authorization"]) == ("http://elsewhere/api/v1/portfolios", "Bearer t")


@pytest.mark.parametrize(
    ("done", "expected", "shown"),
    [(1999, 2000, "99.9 %"), (99999, 100000, "99.9 %"), (5, 5, "100 %"), (0, 0, "100 % (nothing expected)")],
)
def test_a_hundred_percent_means_that_nothing_is_missing(done: int, expected: int, shown: str) -> None:
    assert text.share(done, expected) == shown


def test_reasons_are_grouped_by_cause() -> None:
    reasons: list[dict[str, Any]] = [
        {"figure": "nav", "symbol": "X", "reason": "unpriceable"},
        {"figure": "pnl", "symbol": "X", "reason": "unpriceable"},
        {"figure": "rates", "symbol": None, "reason": "no_proxy"},
    ]
    assert text.reasons_text(reasons) == ["unpriceable: X", "no proxy: rates"]


RUN = {
    "id": ID, "source": "cli", "scope": {"what": "missing"}, "requested_at": "2020-12-30T21:00:00Z", "state": "blocked", "units": 28,
    "done": 21, "blocked": 7, "phases": {},
}  # fmt: skip
EVENTS = [
    {"at": "2020-12-30T21:00:00Z", "event": "requested", "portfolio_id": None, "phase": None, "from": "2020-12-21", "to": "2020-12-30",
     "units": 28, "message": None},
    {"at": "2020-12-30T21:00:09Z", "event": "blocked", "portfolio_id": ID, "phase": "risk", "from": "2020-12-21", "to": "2020-12-30",
     "units": 7, "message": "ValueError: [red]boom"},
    {"at": None, "event": "waiting", "portfolio_id": ID, "phase": "ingest", "from": "2020-12-30", "to": "2020-12-30", "units": 1,
     "message": None},
]  # fmt: skip


def test_runs_lists_runs_and_tells_what_happened_in_one(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = {
        "/admin/runs": {"items": [RUN], "next": None},
        f"/admin/runs/{ID}": RUN,
        f"/admin/runs/{ID}/events": {"id": ID, "events": EVENTS, "events_total": 3},
    }
    listed = run(monkeypatch, answers, "runs")
    assert listed.exit_code == 0
    assert ID in listed.stdout
    assert "75.0 %" in listed.stdout
    told = run(monkeypatch, answers, "runs", ID).stdout
    assert "7 blocked" in told
    assert "Events (3)" in told
    assert f"blocked {ID} risk 2020-12-21: ValueError: [red]boom" in told
    assert json.loads(run(monkeypatch, answers, "runs", ID, "--json").stdout)["events"] == EVENTS
    assert run(monkeypatch, {}, "runs", ID).exit_code == 1
