"""What the portfolio endpoints answer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import RowMapping

from services.coordinator.portfolios.ledger_effects import Change
from services.coordinator.portfolios.service import Imported
from services.coordinator.portfolios.store import Portfolio
from services.coordinator.results.values import plain
from services.coordinator.runs.store import Run
from shared.messaging.dead_letters import DeadLetter

# A dead letter's body is for a person to look at; the whole of it is replayed whatever is shown.
SHOWN_BODY = 4096


def change(changed: Change) -> dict[str, Any]:
    return {
        "first_session": plain(changed.first_session),
        "last_session": plain(changed.last_session),
        "run_id": plain(changed.run_id),
    }


def imported(result: Imported, *, preview: bool = False) -> dict[str, Any]:
    """The answer to a create or import; with `preview` also how each price was understood."""
    body: dict[str, Any] = {
        "id": plain(result.portfolio_id),
        "name": result.name,
        "positions": result.positions,
        "unchanged": result.unchanged,
        **change(result.change),
        "warnings": [issue.document() for issue in result.issues.warnings],
    }
    if preview:
        body["preview"] = [
            {
                "row": position.row,
                "symbol": position.symbol,
                "investment_class": position.investment_class,
                "entry_date": position.entry_date.isoformat(),
                "entry_session": position.entry_session.isoformat(),
                "entry_price": plain(position.entry_price),
                "close_as_traded": plain(decision.close_as_traded),
                "close_split_adjusted": plain(decision.close_split_adjusted),
                "price_basis": decision.price_basis,
                "price_basis_known": decision.known,
                "stored_quantity": plain(decision.quantity),
                "stored_entry_price": plain(decision.entry_price),
            }
            for position, decision in result.decisions
        ]
    return body


def listed(row: RowMapping) -> dict[str, Any]:
    """One line of the list of portfolios."""
    fields = ("id", "name", "account_type", "currency", "equity_balance", "first_session", "created_at", "updated_at")
    state = "blocked" if row["blocked"] else "healing" if row["missing"] else "complete"
    return {field: plain(row[field]) for field in fields} | {"positions": row["positions"], "state": state}


def portfolio(found: Portfolio, positions: Iterable[RowMapping], flows: Iterable[RowMapping]) -> dict[str, Any]:
    """A portfolio as the user stated it, with what was made of it."""
    return {
        "id": str(found.id),
        "name": found.name,
        "account_type": found.account_type,
        "currency": found.currency,
        "equity_balance": plain(found.equity_balance),
        "first_session": plain(found.first_session),
        "created_at": plain(found.created_at),
        "updated_at": plain(found.updated_at),
        "positions": [plain(dict(row)) for row in positions],
        "flows": [plain(dict(row)) for row in flows],
    }


def run(found: Run) -> dict[str, Any]:
    return {
        "id": str(found.id),
        "source": found.source,
        "scope": plain(dict(found.scope)),
        "requested_at": plain(found.requested_at),
        "state": found.state,
        "units": found.units,
        "done": found.done,
        "blocked": found.blocked,
        "phases": {
            phase.value: {"units": progress.units, "done": progress.done, "blocked": progress.blocked}
            for phase, progress in found.phases.items()
        },
    }


def dead_letter(letter: DeadLetter, headers: Mapping[str, str]) -> dict[str, Any]:
    body = None if letter.body is None else letter.body.decode("utf-8", errors="replace")[:SHOWN_BODY]
    return {
        "id": letter.id,
        "consumer": letter.consumer,
        "topic": letter.topic,
        "partition": letter.partition,
        "offset": letter.offset,
        "headers": dict(headers),
        "body": body,
        "reason": letter.reason,
        "error": letter.error,
        "received_at": plain(letter.received_at),
        "replayed_at": plain(letter.replayed_at),
        "replay_event_id": plain(letter.replay_event_id),
        "edited_at": plain(letter.edited_at),
        "resolved_at": plain(letter.resolved_at),
        "purged_at": plain(letter.purged_at),
    }
