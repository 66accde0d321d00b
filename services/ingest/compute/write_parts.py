"""What is fetched together is written in parts, so that nobody waits long for the commit-order lock."""

from collections import Counter
from collections.abc import Iterator, Sequence

from services.ingest.model.write_set import FetchRequest, WriteSet

# Rows of prices of one transaction: others wait for the commit-order lock while so many are written, a tenth of a second.
ROWS_A_WRITE = 10_000


def in_transactions(
    asks: Sequence[FetchRequest], rows: WriteSet, most: int = ROWS_A_WRITE
) -> Iterator[tuple[Sequence[FetchRequest], WriteSet]]:
    """Asks and what is written of their answers, in parts of at most about `most` rows of prices; all of one symbol in one part."""
    part_of = _place(asks, Counter(row[0] for row in rows.prices), most)
    count = max(part_of.values(), default=0) + 1
    if count == 1:
        yield asks, rows
        return
    for number in range(count):
        some = [ask for ask in asks if part_of[ask.symbol_id] == number]
        yield some, _of(some, rows)


def _of(asks: Sequence[FetchRequest], rows: WriteSet) -> WriteSet:
    """What is about the symbols of these asks."""
    ids, names = {ask.symbol_id for ask in asks}, {ask.symbol for ask in asks}
    return WriteSet(
        prices=[row for row in rows.prices if row[0] in ids],
        actions=[action for action in rows.actions if action.symbol_id in ids],
        symbols=[symbol for symbol in rows.symbols if symbol.id in ids],
        checked={id_: checked for id_, checked in rows.checked.items() if id_ in ids},
        gaps={id_: gaps for id_, gaps in rows.gaps.items() if id_ in ids},
        listed=[listed for listed in rows.listed if listed[0] in ids],
        jumps=[jump for jump in rows.jumps if jump.symbol_id in ids],
        decided={key: decision for key, decision in rows.decided.items() if key[0] in ids},
        renames=[found for found in rows.renames if found.symbol in names],
        candidates=[candidate for candidate in rows.candidates if candidate.symbol_id in ids],
        described=[described for described in rows.described if described.symbol_id in ids],
        chosen={id_: choice for id_, choice in rows.chosen.items() if id_ in ids},
    )


def _place(asks: Sequence[FetchRequest], counted: Counter[int], most: int) -> dict[int, int]:
    """By symbol id the number of its part."""
    found: dict[int, int] = {}
    part, size = 0, 0
    for ask in asks:
        if ask.symbol_id in found:
            continue
        if size and size + counted[ask.symbol_id] > most:
            part, size = part + 1, 0
        found[ask.symbol_id] = part
        size += counted[ask.symbol_id]
    return found
