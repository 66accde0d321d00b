"""Everything stored about the symbols of some requests, read in one call before their answers are looked at."""

from collections.abc import Sequence
from datetime import date

from sqlalchemy.ext.asyncio import AsyncConnection

from services.ingest.model.market import LISTED_LATE
from services.ingest.model.stored import OutlierDecision, StoredEvidence
from services.ingest.model.write_set import FetchRequest
from services.ingest.store import aliases, price_basis, prices, quarantine


async def read(
    conn: AsyncConnection, asks: Sequence[FetchRequest], *, sigma_window: int, outliers: bool
) -> list[StoredEvidence]:
    """The evidence of each request, in order. The symbols are leased, so that it still stands when the answers are written.

    sigma_window : of how many daily returns a standard deviation is taken
    outliers     : whether it is wanted of all requests, or only if something was decided about an outlier of one of them
    """
    # Where nothing is known, what is stored is another security's, or nothing.
    known = {index: ask for index, ask in enumerate(asks) if ask.known}
    ids = sorted({ask.symbol_id for ask in known.values()})
    names = await aliases.read(conn, [ask.symbol for ask in asks])
    decisions: dict[int, dict[date, OutlierDecision]] = {}
    for (id_, session), decision in (await quarantine.find_decisions(conn, ids)).items():
        decisions.setdefault(id_, {})[session] = decision
    sigmas = await quarantine.return_sigmas(conn, ids, sigma_window) if outliers or decisions else {}
    closes = await price_basis.stored_closes(conn, [(ask.symbol_id, ask.first, ask.last) for ask in asks])
    actions = await price_basis.stored_actions(conn, sorted({ask.symbol_id for ask in asks}))
    unadjusted = await price_basis.unadjusted_stored_splits(conn, ids, LISTED_LATE)
    found = await prices.anchors(conn, [(ask.symbol_id, ask.first, ask.last) for ask in known.values()])
    anchors = {index: found[place] for place, index in enumerate(known) if place in found}
    return [
        StoredEvidence(
            aliases=tuple(names.get(ask.symbol, ())),
            closes=tuple(closes.get(index, ())),
            anchor=anchors.get(index),
            actions=tuple(actions.get(ask.symbol_id, ())),
            decisions=decisions.get(ask.symbol_id, {}),
            sigma=sigmas.get(ask.symbol_id),
            unadjusted_split=ask.symbol_id in unadjusted,
        )
        for index, ask in enumerate(asks)
    ]
