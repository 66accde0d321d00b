"""From a request to a checked draft: what would be stored, and everything that is wrong with it. Writes nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from services.coordinator.errors import Invalid
from services.coordinator.importer import account, basis, basis_warnings, parse
from services.coordinator.importer.account import Account
from services.coordinator.importer.basis import Decision
from services.coordinator.importer.model import Flow, Issues, Position
from services.coordinator.importer.parse import Parsed
from services.coordinator.importer.reading import Options
from services.coordinator.importer.rules import BASES, Rules
from services.coordinator.importer.trades import Trade
from services.coordinator.portfolios import entry_closes
from shared.clock import Clock


@dataclass(frozen=True, slots=True)
class Draft:
    """A portfolio ready to be written."""

    account: Account
    positions: tuple[Position, ...]
    flows: tuple[Flow, ...]
    issues: Issues
    trades: tuple[Trade, ...] | None = None
    """Of a list of trades, whose lots follow once the splits are known."""
    reading: Mapping[str, object] | None = None

    @property
    def first_session(self) -> date | None:
        return min((position.entry_session for position in self.positions), default=None)


def rules_now(clock: Clock) -> Rules:
    """The rules as of this request: tomorrow's trade is accepted tomorrow, without a restart."""
    return Rules(clock.calendar(), clock.today())


def from_json(body: Mapping[str, Any], clock: Clock) -> Draft:
    """Check a JSON portfolio: header, positions and flows, all faults at once."""
    context = rules_now(clock)
    parsed = parse.parse_items(body.get("positions") or [], context)
    issues = parsed.issues
    header = account.check(
        name_=parse.cell_text(body.get("name")),
        equity_=parse.cell_text(body.get("equity_balance")),
        type_=parse.cell_text(body.get("account_type")),
        currency_=parse.cell_text(body.get("currency")),
        issues=issues,
    )
    flows = parse.parse_flows(body.get("flows") or [], context, issues)
    draft = Draft(header, parsed.positions, tuple(flows), issues)
    # With a refused position the first session is not known, and a message about it would mislead.
    if not issues.refused:
        check_flows(flows, draft.first_session, issues)
    return draft


def from_file(
    content: bytes,
    filename: str | None,
    *,
    name: str,
    account_type: str,
    equity: str,
    currency: str,
    options: Options,
    clock: Clock,
) -> Draft:
    """Check an uploaded file and the form fields beside it."""
    parsed = from_csv(content, filename, options, clock)
    header = account.check(name_=name, equity_=equity, type_=account_type, currency_=currency, issues=parsed.issues)
    return Draft(header, parsed.positions, (), parsed.issues, parsed.trades, parsed.reading)


def from_csv(content: bytes, filename: str | None, options: Options, clock: Clock) -> Parsed:
    """Check a file alone. `options.price_basis` is the user's word for all rows that do not have their own."""
    parsed = parse.parse_csv(content, filename, rules_now(clock), options)
    chosen = options.price_basis.strip().lower()
    if chosen not in ("", "auto", *BASES):
        parsed.issues.error(
            None, "price_basis", "ERR_POS_025", f"price_basis {chosen!r} is none of auto, {', '.join(BASES)}.", chosen
        )
    elif chosen in BASES:
        stated = (replace(p, price_basis=p.price_basis or chosen) for p in parsed.positions)
        trades = parsed.trades and tuple(replace(trade, price_basis=chosen) for trade in parsed.trades)
        return replace(parsed, positions=tuple(stated), trades=trades)
    return parsed


def check_flows(flows: Sequence[Flow], first: date | None, issues: Issues) -> None:
    """A flow needs a session of the portfolio to count on."""
    for flow in flows:
        if first is None:
            issues.error(
                flow.row,
                "date",
                "ERR_FLOW_003",
                "The portfolio has no position, so no session a flow could count on. Add a position first, or put the money "
                "into equity_balance.",
                str(flow.day),
            )
        elif flow.session < first:
            issues.error(
                flow.row,
                "date",
                "ERR_FLOW_003",
                f"The flow of {flow.day} is before the first session, {first}. Put it into equity_balance, which is the capital "
                "before the first trade.",
                str(flow.day),
            )


async def decide_price_basis(
    conn: AsyncConnection,
    positions: Sequence[Position],
    clock: Clock,
    issues: Issues,
    *,
    files: Sequence[Hashable] | None = None,
    decided: Sequence[str | None] | None = None,
    final: bool = False,
) -> list[Decision]:
    """The basis of every position, from the prices stored by now. Options, private holdings and money are as stated.

    The other arguments are those of `basis.decide_file`.
    """
    calendar = clock.calendar()
    compared = [position for position in positions if basis.applies(position)]
    read = await entry_closes.read(conn, compared, calendar) if compared else []

    def decide() -> list[Decision]:
        known = iter(read)
        markets = [next(known) if basis.applies(position) else None for position in positions]
        asked = [p if basis.applies(p) else replace(p, price_basis=None) for p in positions]
        decisions = basis.decide_file(asked, markets, issues, files=files, decided=decided, final=final)
        basis_warnings.warn_unknown(positions, decisions, issues)
        basis_warnings.warn_converted(positions, decisions, issues)
        return [
            replace(decision, awaits=calendar.on_or_before(position.entry_date))
            # Of what the user states nothing is assumed; it is compared with the closes all the same, once there are any.
            if not decision.known and basis.applies(position)
            else decision
            for position, decision in zip(positions, decisions, strict=True)
        ]

    # Of fifty thousand lots it takes seconds, in which the event loop has others to answer.
    decisions = await asyncio.to_thread(decide)
    if not final:
        await _doubt_exits(conn, list(zip(positions, decisions, strict=True)), clock, issues)
    return decisions


async def _doubt_exits(
    conn: AsyncConnection, pairs: Sequence[tuple[Position, Decision]], clock: Clock, issues: Issues
) -> None:
    """Warn of exits far from the close of their day, where it is stored. Snapshots say the same, whenever it is."""
    asked = [pair for pair in pairs if basis.applies(pair[0]) and pair[0].exit_date and pair[0].exit_price]
    if not asked:
        return
    days = [(position.symbol, position.exit_date) for position, _ in asked if position.exit_date]
    for (position, decision), market in zip(
        asked, await entry_closes.read_days(conn, days, clock.calendar()), strict=True
    ):
        close = None if market is None else market.close
        if (
            close is not None
            and decision.exit_price is not None
            and not basis.is_near(float(decision.exit_price), close)
        ):
            basis_warnings.warn_far_exit(position, close, "close as traded", issues)


def refuse(issues: Issues) -> None:
    """Raise `Invalid` with every error, if there is one."""
    if issues.refused:
        raise Invalid(
            f"{issues.total} error{'s' if issues.total > 1 else ''}; nothing was saved.",
            errors=[issue.document() for issue in issues.errors[: issues.shown]],
            errors_total=issues.total,
        )
