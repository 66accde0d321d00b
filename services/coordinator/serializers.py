"""What the portfolio endpoints answer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import RowMapping

from services.coordinator.portfolios.ledger_effects import Change
from services.coordinator.portfolios.service import Imported
from services.coordinator.portfolios.store import Portfolio
from services.coordinator.results.values import to_json
from services.coordinator.runs.store import Run
from shared.messaging.dead_letters import DeadLetter

# A dead letter's body is for a person to look at; the whole of it is replayed whatever is shown.
SHOWN_BODY = 4096


def change(changed: Change) -> dict[str, Any]:
    return {
        "first_session": to_json(changed.first_session),
        "last_session": to_json(changed.last_session),
        "run_id": to_json(changed.run_id),
    }


def import_answer(result: Imported, *, preview: bool = False) -> dict[str, Any]:
    """The answer to a create or import; with `preview` also how each price was understood."""
    body: dict[str, Any] = {
        "id": to_json(result.portfolio_id),
        "name": result.name,
        "positions": result.positions,
        "unchanged": result.unchanged,
        "changed": result.changed,
        "would_change": [
            {
                "row": difference.row,
                "position_id": to_json(difference.lot["id"]),
                "symbol": difference.lot["symbol"],
                "entry_date": to_json(difference.lot["entry_date"]),
                "changes": {
                    name: {"stored": before, "file": after} for name, (before, after) in difference.changes.items()
                },
            }
            for difference in result.would_change
        ],
        "import_id": to_json(result.import_id),
        "reading": None if result.reading is None else dict(result.reading),
        **change(result.change),
        "warnings": [issue.document() for issue in result.issues.warnings],
    }
    if preview:
        body["preview"] = [
            {
                "row": position.row,
                "symbol": position.symbol,
                "name": position.name,
                "investment_class": position.investment_class,
                "quantity": to_json(position.quantity),
                "multiplier": position.multiplier,
                "written": dict(position.written),
                "entry_date": position.entry_date.isoformat(),
                "entry_session": position.entry_session.isoformat(),
                "entry_price": to_json(position.entry_price),
                "exit_date": to_json(position.exit_date),
                "exit_price": to_json(position.exit_price),
                "close_as_traded": to_json(decision.close_as_traded),
                "close_split_adjusted": to_json(decision.close_split_adjusted),
                "price_basis": decision.price_basis,
                "price_basis_known": decision.known,
                "stored_quantity": to_json(decision.quantity),
                "stored_entry_price": to_json(decision.entry_price),
            }
            for position, decision in result.decisions
        ]
    return body


def portfolio(found: Portfolio, positions: Iterable[RowMapping], flows: Iterable[RowMapping]) -> dict[str, Any]:
    """A portfolio as the user stated it, with what was made of it."""
    return {
        "id": str(found.id),
        "name": found.name,
        "account_type": found.account_type,
        "currency": found.currency,
        "equity_balance": to_json(found.equity_balance),
        "first_session": to_json(found.first_session),
        "created_at": to_json(found.created_at),
        "updated_at": to_json(found.updated_at),
        "positions": [to_json(dict(row)) for row in positions],
        "flows": [to_json(dict(row)) for row in flows],
    }


def run(found: Run) -> dict[str, Any]:
    return {
        "id": str(found.id),
        "source": found.source,
        "scope": to_json(dict(found.scope)),
        "requested_at": to_json(found.requested_at),
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
        "received_at": to_json(letter.received_at),
        "replayed_at": to_json(letter.replayed_at),
        "replay_event_id": to_json(letter.replay_event_id),
        "edited_at": to_json(letter.edited_at),
        "resolved_at": to_json(letter.resolved_at),
        "purged_at": to_json(letter.purged_at),
    }
