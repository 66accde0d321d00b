"""Limits and webhooks without a server: comparisons, signatures, waits, and where a webhook may lead."""

from __future__ import annotations

import hashlib
import hmac
import socket
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from services.coordinator.compute.states import Completeness
from services.coordinator.errors import Invalid, NotFound
from services.coordinator.notifications import delivery
from services.coordinator.notifications.addresses import check_url, resolve
from services.coordinator.notifications.delivery import Sender
from services.coordinator.notifications.evaluation import STATUS_FIGURES, check_figure, status_figures
from services.coordinator.notifications.model import LONGEST_WAIT, Limit, Message, Op, signature, wait_after
from services.coordinator.results.states import Overview
from shared.clock import Clock
from shared.db.tenancy import HOUSE
from shared.ledger.runs import Extent


@pytest.mark.parametrize(("op", "breached"), [(">", [0.04]), (">=", [0.03, 0.04]), ("<", [0.02]), ("<=", [0.02, 0.03])])
def test_a_limit_is_breached_where_its_comparison_holds(op: str, breached: list[float]) -> None:
    limit = Limit(uuid4(), "VaR", None, "risk.var.historical.0.95", Op(op), 0.03, datetime.now(UTC), HOUSE)
    assert [value for value in (0.02, 0.03, 0.04) if limit.judge(value) == "breached"] == breached


def test_a_signature_covers_body_and_time() -> None:
    made = signature("s3cret", 1_600_000_000, b'{"a":1}')
    assert made == "v1=" + hmac.new(b"s3cret", b'1600000000.{"a":1}', hashlib.sha256).hexdigest()
    others = [
        ("other", 1_600_000_000, b'{"a":1}'),
        ("s3cret", 1_600_000_001, b'{"a":1}'),
        ("s3cret", 1_600_000_000, b""),
    ]
    assert made not in [signature(*other) for other in others]


def test_waits_double_up_to_an_hour() -> None:
    assert [wait_after(n).total_seconds() for n in (1, 2, 3)] == [5, 10, 20]
    assert wait_after(1_000_000) == LONGEST_WAIT


@pytest.mark.parametrize(
    "url",
    [
        "https://example.org/hook", "https://93.184.215.14:8443/x", "http://127.0.0.1:9000/", "http://localhost/x", "http://[::1]:9/",
        "http://127.1/", "http://2130706433:9/x", "https://1572395791/x",
    ],
)  # fmt: skip
def test_public_addresses_by_https_and_this_machine_are_taken(url: str) -> None:
    assert check_url(f" {url} ", private=False) == url


@pytest.mark.parametrize(
    "url",
    [
        "http://example.org/", "http://127.0.0.1.nip.io/", "https://10.0.0.5/", "https://169.254.169.254/latest", "https://[fd00::1]/",
        "https://user:pass@example.org/", "ftp://example.org/", "example.org", "https://", "https://example.org:99999/", "https://a/#b",
        "https://[::ffff:10.0.0.1]/", "https://exämple.org/", "https://10.1/", "https://167772161/", "https://0xa9fea9fe/", "https://127/",
        "https://localhost./", "https://x.localhost/",
    ],
)  # fmt: skip
def test_what_leads_elsewhere_is_refused_with_its_field(url: str) -> None:
    with pytest.raises(Invalid) as refused:
        check_url(url, private=False)
    assert [error["column"] for error in refused.value.errors] == ["url"]


def test_the_setting_allows_ones_own_network() -> None:
    for url in ("http://10.0.0.5/", "https://[fd00::1]/x", "http://hooks.internal/"):
        assert check_url(url, private=True) == url


async def test_a_name_is_resolved_once_and_every_address_of_it_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also a name that leads to this machine: what listens here is not its owner's to call."""
    leads: list[str] = []

    async def look(self: Any, host: str, port: int, **_: Any) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in leads]

    monkeypatch.setattr("asyncio.base_events.BaseEventLoop.getaddrinfo", look)
    leads[:] = ["93.184.215.14"]
    assert await resolve("example.org", 443, private=False) == "93.184.215.14"
    for inside in ("10.0.0.5", "169.254.169.254", "127.0.0.1", "::1", "fd00::1"):
        leads[:] = ["93.184.215.14", inside]
        with pytest.raises(PermissionError, match="not a public address"):
            await resolve("example.org", 443, private=False)
        assert await resolve("example.org", 443, private=True)
    leads[:] = ["127.0.0.1"]
    assert await resolve("localhost", 80, private=False) == "127.0.0.1"
    with pytest.raises(PermissionError):
        await resolve("localhost", 80, private=False, loopback=False)


async def test_http_is_not_sent_to_others_once_the_setting_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    async def look(host: str, port: int, *, private: bool, loopback: bool) -> str:
        asked.append(host)
        raise OSError("nowhere")

    monkeypatch.setattr(delivery, "resolve", look)
    message = Message(1, uuid4(), "http://hooks.internal/", "s", "test", {}, 1, HOUSE)
    assert "LEADLINE_WEBHOOK_PRIVATE" in str(await Sender().send(message))
    assert asked == []


def test_figures_of_the_state_count_from_what_is_due() -> None:
    clock = Clock(date(2020, 12, 30))

    def of(complete_to: date | None, first: date | None = date(2020, 12, 1)) -> dict[str, float | None]:
        completeness = Completeness(missing=True, blocked=True, provisional=False, coverage=0.9, needs=())
        return status_figures(Overview(completeness, Extent(complete_to=complete_to), ()), first, clock)

    behind = of(date(2020, 12, 28))
    assert set(behind) == set(STATUS_FIGURES)
    assert (behind["status.sessions_behind"], behind["status.missing"], behind["status.blocked"]) == (2.0, 1.0, 1.0)
    assert behind["status.hours_late"] == 24.0
    assert behind["status.coverage_min"] == 0.9
    done = of(date(2020, 12, 30))
    assert (done["status.sessions_behind"], done["status.hours_late"]) == (0.0, 0.0)
    # Nothing at all is there, or nothing is asked of it.
    assert of(None)["status.sessions_behind"] == 21.0
    assert of(None, first=None)["status.sessions_behind"] == 0.0


def test_a_figure_that_nothing_can_have_is_refused() -> None:
    assert check_figure(" snapshots.nav ") == "snapshots.nav"
    assert check_figure("status.hours_late") == "status.hours_late"
    for figure in ("nav", "status.late", ""):
        with pytest.raises(NotFound):
            check_figure(figure)


def test_a_message_is_given_up_after_days_and_not_hours() -> None:
    from services.coordinator.notifications.model import LATE

    assert timedelta(days=2) <= LATE
