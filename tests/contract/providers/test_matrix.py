"""Every provider times every way it may answer: what a symbol gets. A cell that is absent is a failure, not a gap."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from services.ingest.model.market import History, NoData
from tests.contract.providers.conftest import NOW, Case, needs_yahooquery, running
from tests.contract.providers.test_answers import TRADED, ask
from tests.contract.providers.test_faults import HTML
from tests.support.vendors import Call, Reply, reply

ROOT = Path(__file__).parents[3]
PROVIDERS = ("yahoo", "yahooquery", "massive", "fmp")
# The name a symbol gets, per provider in the order above; one for all where they agree. docs/providers.md has the same table.
BARRED = "provider_down, auth, in 3600 s"
OUTCOMES: dict[str, tuple[str, ...]] = {
    "normal": ("21 bars",) * 4,
    "empty": ("0 bars",) * 4,
    "partial": ("10 bars",) * 4,
    "delisted": ("not_found", "not_found", "0 bars, delisted 2022-11-08", "0 bars, delisted 2022-11-08"),
    "renamed": ("not_found", "not_found", "not_found, is META since 2022-06-09", "not_found, is META since 2022-06-09"),
    "401": (BARRED, BARRED, "provider_down, auth", "provider_down, auth"),
    "403": (BARRED, BARRED, "provider_down, auth", "provider_down, auth"),
    "404": ("not_found",) * 4,
    "429 with Retry-After": ("rate_limited, rate_limited, in 120 s",) * 4,
    "429 without Retry-After": (
        "rate_limited, rate_limited, in 900 s",
        "rate_limited, rate_limited, in 900 s",
        "rate_limited, rate_limited, in 60 s",
        "rate_limited, rate_limited, in 3600 s",
    ),
    "500": ("provider_down, outage",) * 4,
    "timeout": ("provider_down, timeout",) * 4,
    "truncated JSON": ("provider_down, bad_body",) * 4,
    "HTML instead of JSON": ("provider_down, bad_body",) * 4,
    "schema change": ("provider_down, schema_changed",) * 4,
}
CASES = (
    "normal", "empty", "partial", "delisted", "renamed", "401", "403", "404", "429 with Retry-After",
    "429 without Retry-After", "500", "timeout", "truncated JSON", "HTML instead of JSON", "schema change",
)  # fmt: skip
SYMBOLS = {"empty": "LAZY", "delisted": "TWTR", "renamed": "FB"}
REPLIES = {
    "401": Reply(b"{}", 401),
    "403": Reply(b"{}", 403),
    "404": Reply(b"{}", 404),
    "429 with Retry-After": Reply(b"{}", 429, {"Retry-After": "120"}),
    "429 without Retry-After": Reply(b"{}", 429),
    "500": Reply(b'{"error":"oops"}', 500),
    "timeout": Reply(delay=1.2),
    "HTML instead of JSON": HTML,
    "schema change": Reply(b'{"data": {"prices": []}}'),
}


def partial(case: Case) -> Callable[[Call], Reply]:
    """Every second day without a usable price: null where the vendor writes null, nought where it writes nought."""
    served = case.server.answer

    def answer(call: Call) -> Reply:
        if case.data not in call.path:
            return served(call)
        body = json.loads(served(call).body)
        if "chart" in body:
            indicators = body["chart"]["result"][0]["indicators"]
            for values in (*indicators["quote"][0].values(), indicators["adjclose"][0]["adjclose"]):
                values[::2] = [None] * len(values[::2])
            return reply(body)
        rows = body["results"] if case.name == "massive" else body
        for row in rows[::2]:
            row.update(dict.fromkeys({"o", "h", "l", "c", "open", "high", "low", "close"} & set(row), 0))
        return reply(body)

    return answer


def truncated(case: Case) -> Callable[[Call], Reply]:
    """The vendor's own answer, cut in the middle."""
    served = case.server.answer

    def answer(call: Call) -> Reply:
        whole = served(call)
        return Reply(whole.body[: len(whole.body) // 2]) if case.data in call.path else whole

    return answer


def told(answer: History | NoData) -> str:
    if isinstance(answer, History):
        return f"{len(answer.bars.sessions)} bars" + (f", delisted {answer.delisted_on}" if answer.delisted_on else "")
    parts = [answer.reason.value]
    if answer.fault is not None:
        parts.append(answer.fault.value)
    if answer.retry_at is not None:
        parts.append(f"in {(answer.retry_at - NOW).total_seconds():.0f} s")
    if answer.renamed is not None:
        parts.append(f"is {answer.renamed.new} since {answer.renamed.on}")
    return ", ".join(parts)


def test_no_cell_is_missing() -> None:
    assert tuple(OUTCOMES) == CASES
    assert {len(row) for row in OUTCOMES.values()} == {len(PROVIDERS)}
    for case in CASES:
        assert case in REPLIES or case in SYMBOLS or case in {"normal", "partial", "truncated JSON"}, case


def test_the_documentation_has_the_same_table() -> None:
    written = (ROOT / "docs" / "providers.md").read_text(encoding="utf-8")
    for case, row in OUTCOMES.items():
        assert f"| {case} | " + " | ".join(row) + " |" in written, case


@pytest.mark.parametrize(
    "name", [pytest.param(p, marks=needs_yahooquery if p == "yahooquery" else ()) for p in PROVIDERS]
)
@pytest.mark.parametrize("what", CASES)
def test_each_cell(name: str, what: str) -> None:
    with running(name) as case:
        if what == "timeout":
            case.lose_patience()
        if what in REPLIES:
            case.server.fail(REPLIES[what], case.data)
        elif what == "partial":
            case.server.answer = partial(case)
        elif what == "truncated JSON":
            case.server.answer = truncated(case)
        answer = ask(case, SYMBOLS.get(what, "AAPL"))
    assert told(answer) == OUTCOMES[what][PROVIDERS.index(name)]
    if what == "normal":
        assert isinstance(answer, History)
        assert answer.bars.sessions.tolist() == sorted(TRADED)
    if what == "partial":
        assert isinstance(answer, History)
        assert (answer.bars.close > 0).all(), "left out, not served as nought"
