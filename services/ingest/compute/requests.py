"""Build fetch requests for uncovered sessions, each overlapping one priced session. Pure."""

from collections.abc import Iterator, Sequence
from datetime import date, datetime

from services.ingest.compute.retry_policy import carries_forward
from services.ingest.model.stored import GapRow, PriceGap, SymbolCoverage, SymbolRow
from services.ingest.model.write_set import CarriedForwardGap, FetchRequest, WriteSet
from shared.market.calendar import Calendar
from shared.market.reasons import ReasonCode

# Rows of one write transaction. It holds the commit-order lock, so a large onboarding is written in parts.
MAX_ROWS = 50_000


def gap_requests(
    symbol: SymbolCoverage, first: date, last: date, gaps: Sequence[GapRow], calendar: Calendar
) -> list[FetchRequest]:
    """Asks that make everything in [first, last] known; none if it is. Coverage stays one range: what lies between is asked too."""
    low, high = calendar.ordinal(first), calendar.ordinal(last)
    if symbol.covered_from is None or symbol.covered_to is None:
        return [FetchRequest(symbol.id, symbol.symbol, first, last, ((low, high),), None)]
    known = (symbol.covered_from, symbol.covered_to)
    start, end = calendar.ordinal(symbol.covered_from), calendar.ordinal(symbol.covered_to)
    asks = []
    if low < start:
        join = _nearest_priced(start, gaps, +1, start, end)
        asks.append(_ask(symbol, calendar, low, join, (low, max(join, start) - 1), known))
    if high > end:
        join = _nearest_priced(end, gaps, -1, start, end)
        asks.append(_ask(symbol, calendar, join, high, (min(join, end) + 1, high), known))
    return asks


def carry_forward_gaps(
    symbol: SymbolCoverage, first: date, last: date, gaps: Sequence[GapRow], calendar: Calendar, now: datetime
) -> list[CarriedForwardGap]:
    """What of [first, last] needs no asking because everybody was asked about the session next to it, not long ago.

    A dead symbol costs one chain of attempts a window, however many nights and portfolios pass in it.
    """
    if symbol.covered_from is None or symbol.covered_to is None:
        return []
    low, high = calendar.ordinal(first), calendar.ordinal(last)
    start, end = calendar.ordinal(symbol.covered_from), calendar.ordinal(symbol.covered_to)
    known = (symbol.covered_from, symbol.covered_to)
    found = []
    for gap in map(PriceGap._make, gaps):
        fresh = gap.terminal and (gap.retry_at > now if gap.retry_at else gap.reason == ReasonCode.NOT_YET_LISTED)
        if not fresh or not carries_forward(gap.reason, gap.last - gap.first + 1):
            continue
        spans = []
        # After a delisting comes nothing, before a listing came nothing; a symbol nobody knows has neither before nor after.
        if gap.last == end < high and gap.reason != ReasonCode.NOT_YET_LISTED:
            spans.append((end + 1, high))
        if gap.first == start > low and gap.reason in {
            ReasonCode.NOT_FOUND,
            ReasonCode.AMBIGUOUS,
            ReasonCode.NOT_YET_LISTED,
            ReasonCode.FOREIGN_CURRENCY,
        }:
            spans.append((low, start - 1))
        for a, b in spans:
            ask = FetchRequest(symbol.id, symbol.symbol, calendar.session(a), calendar.session(b), ((a, b),), known)
            found.append(CarriedForwardGap(ask, gap._replace(first=a, last=b)))
    return found


def retry_requests(
    symbol: SymbolCoverage, ranges: Sequence[tuple[date, date]], calendar: Calendar
) -> list[FetchRequest]:
    """One ask over known absences and the sessions around them, deciding the absences only."""
    if symbol.covered_from is None or symbol.covered_to is None or not ranges:
        return []
    start, end = calendar.ordinal(symbol.covered_from), calendar.ordinal(symbol.covered_to)
    checked = tuple((calendar.ordinal(first), calendar.ordinal(last)) for first, last in sorted(ranges))
    low = max(start, min(first for first, _ in checked) - 1)
    high = min(end, max(last for _, last in checked) + 1)
    known = (symbol.covered_from, symbol.covered_to)
    return [FetchRequest(symbol.id, symbol.symbol, calendar.session(low), calendar.session(high), checked, known)]


def refresh_requests(
    symbol: SymbolCoverage, first: date, last: date, gaps: Sequence[GapRow], calendar: Calendar
) -> list[FetchRequest]:
    """One ask over sessions that are known: what differs is a correction. It decides the absences among them, and no price:
    a source that lacks a bar today had it yesterday."""
    if symbol.covered_from is None or symbol.covered_to is None:
        return []
    low, high = calendar.ordinal(first), calendar.ordinal(last)
    # One session more, so that the first one has a return.
    start = max(calendar.ordinal(symbol.covered_from), low - 1)
    checked = tuple((max(low, gap[0]), min(high, gap[1])) for gap in gaps if gap[0] <= high and gap[1] >= low)
    return [
        FetchRequest(
            symbol.id, symbol.symbol, calendar.session(start), last, checked, (symbol.covered_from, symbol.covered_to)
        )
    ]


def full_request(symbol: SymbolCoverage, calendar: Calendar) -> FetchRequest:
    """One ask over everything that is known, as if nothing were."""
    assert symbol.covered_from is not None
    assert symbol.covered_to is not None
    span = calendar.ordinal(symbol.covered_from), calendar.ordinal(symbol.covered_to)
    return FetchRequest(symbol.id, symbol.symbol, symbol.covered_from, symbol.covered_to, (span,), None)


def _ask(
    symbol: SymbolCoverage, calendar: Calendar, low: int, high: int, checked: tuple[int, int], known: tuple[date, date]
) -> FetchRequest:
    return FetchRequest(symbol.id, symbol.symbol, calendar.session(low), calendar.session(high), (checked,), known)


def _nearest_priced(at: int, gaps: Sequence[GapRow], step: int, start: int, end: int) -> int:
    """The first session with a price from the edge of what is known inwards; the edge itself if there is none."""
    place = at
    while start <= place <= end:
        gap = next((gap for gap in gaps if gap[0] <= place <= gap[1]), None)
        if gap is None:
            return place
        place = gap[1] + 1 if step > 0 else gap[0] - 1
    return at


def in_parts(asks: Sequence[FetchRequest], calendar: Calendar) -> Iterator[list[FetchRequest]]:
    """Asks in parts of at most about `MAX_ROWS` rows; all asks of one symbol in one part."""
    part: list[FetchRequest] = []
    rows = 0
    for ask in asks:
        length = calendar.ordinal(ask.last) - calendar.ordinal(ask.first) + 1
        if part and rows + length > MAX_ROWS and ask.symbol_id != part[-1].symbol_id:
            yield part
            part, rows = [], 0
        part.append(ask)
        rows += length
    if part:
        yield part


def without_asking(absent: Sequence[CarriedForwardGap]) -> WriteSet:
    """Rows of absences that are known to go on."""
    checked: dict[int, list[tuple[int, int]]] = {}
    gaps: dict[int, list[PriceGap]] = {}
    symbols: dict[int, SymbolRow] = {}
    for known in absent:
        ask = known.ask
        checked.setdefault(ask.symbol_id, []).extend(ask.checked)
        gaps.setdefault(ask.symbol_id, []).append(known.gap)
        row = symbols.get(ask.symbol_id) or SymbolRow(ask.symbol_id, ask.first, ask.last)
        symbols[ask.symbol_id] = row._replace(first=min(row.first, ask.first), last=max(row.last, ask.last))
    return WriteSet([], [], list(symbols.values()), checked, gaps)
