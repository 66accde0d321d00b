"""Small pure parts: states in one word, reasons once, values as JSON, scopes that coalesce."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from uuid import UUID, uuid4

import pytest

from services.coordinator.errors import Contradictory, Invalid
from services.coordinator.results import completeness
from services.coordinator.results.values import to_json
from services.coordinator.runs import requests
from services.coordinator.runs.requests import Scope
from services.coordinator.runs.store import PhaseProgress, Run
from shared.clock import Clock
from shared.ledger.states import state_of_missing
from shared.work import Phase


@pytest.mark.parametrize(
    ("blocked", "running", "runs", "word"),
    [
        (False, False, 0, "waiting"),
        (False, True, 0, "running"),
        (False, True, 5, "running"),
        (False, False, 5, "retrying"),
        (True, True, 8, "blocked"),
    ],
)
def test_the_state_of_a_hole(*, blocked: bool, running: bool, runs: int, word: str) -> None:
    assert state_of_missing(blocked=blocked, running=running, runs=runs) == word


def test_a_symbols_reason_is_listed_once() -> None:
    reasons = [{"figure": f, "symbol": s, "reason": "stale"} for f in ("nav", "pnl") for s in ("B", "A")]
    assert completeness.symbol_reasons(reasons) == [
        {"figure": None, "symbol": "B", "reason": "stale"},
        {"figure": None, "symbol": "A", "reason": "stale"},
    ]
    assert completeness.symbol_reasons(reasons[:1])[0]["figure"] == "nav"


def test_instants_are_utc_with_z() -> None:
    moment = datetime(2020, 12, 30, 16, 30, tzinfo=timezone(timedelta(hours=-5)))
    assert completeness.instant(moment) == "2020-12-30T21:30:00Z"
    assert completeness.instant(None) is None


def test_values_become_json_and_the_unknown_null() -> None:
    value = {
        "nan": float("nan"),
        "inf": [float("inf"), 1.5],
        "money": Decimal("12.3400"),
        "never": Decimal("NaN"),
        "day": date(2020, 1, 2),
        "at": datetime(2020, 1, 2, tzinfo=UTC),
        "id": UUID(int=1),
        "yes": True,
    }
    assert to_json(value) == {
        "nan": None, "inf": [None, 1.5], "money": 12.34, "never": None, "day": "2020-01-02", "at": "2020-01-02T00:00:00Z",
        "id": "00000000-0000-0000-0000-000000000001", "yes": True,
    }  # fmt: skip
    with pytest.raises(TypeError, match="set"):
        to_json({1, 2})


def run(**phases: PhaseProgress) -> Run:
    return Run(
        uuid4(), "admin", "all", {}, datetime.now(UTC), {Phase(name): progress for name, progress in phases.items()}
    )


def test_the_state_of_a_run_is_derived() -> None:
    assert run().state == "complete"
    assert run(risk=PhaseProgress(4, 4, 0)).state == "complete"
    assert run(risk=PhaseProgress(4, 2, 1)).state == "running"
    assert run(risk=PhaseProgress(4, 3, 1), factors=PhaseProgress(2, 2, 0)).state == "blocked"


def test_equal_scopes_have_equal_keys_whatever_the_order() -> None:
    a, b = uuid4(), uuid4()
    first, second = Scope((a, b)).document("all"), Scope((b, a)).document("all")
    assert requests.scope_key(first) == requests.scope_key(second)
    assert requests.scope_key(first) != requests.scope_key(Scope((a, b)).document("missing"))
    assert requests.scope_key(Scope(()).document("all")) != requests.scope_key(Scope(None).document("all"))


def test_the_kind_of_run_follows_from_all_arguments() -> None:
    clock = Clock(date(2020, 12, 30))
    day = date(2020, 12, 21)
    assert requests.check(Scope(), clock, what="", force=None) == "missing"
    assert requests.check(Scope(first=day), clock, what="", force=False) == "missing"
    assert requests.check(Scope(first=day), clock, what="", force=True) == "all"
    assert requests.check(Scope(), clock, what="failed", force=None) == "failed"
    with pytest.raises(Contradictory, match="start_date"):
        requests.check(Scope(), clock, what="", force=True)
    with pytest.raises(Contradictory, match="after end_date"):
        requests.check(Scope(first=day, last=date(2020, 12, 18)), clock, what="", force=None)
    with pytest.raises(Invalid, match="everything"):
        requests.check(Scope(), clock, what="everything", force=None)
