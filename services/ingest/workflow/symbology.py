"""Questions to the chain under the names that vendors know, and renames they tell of. Blocks; in a thread."""

from collections.abc import Sequence
from dataclasses import replace

from services.ingest.compute.aliases import renamed_request, request_of
from services.ingest.model.market import ChainResult
from services.ingest.model.stored import Alias, Found
from services.ingest.model.write_set import FetchRequest
from services.ingest.providers.chain import Chain


def fetch(
    chain: Chain, asks: Sequence[FetchRequest], aliases: Sequence[Sequence[Alias]]
) -> tuple[list[ChainResult], list[Found]]:
    """Answers in order, under the symbols' own names, and renames found on the way. A renamed symbol is asked for once more,
    over both sides of the day: one question, one series.

    aliases : of each ask
    """
    requests = [request_of(ask, known) for ask, known in zip(asks, aliases, strict=True)]
    fetched = chain.fetch(requests)
    asked = zip(asks, requests, fetched, strict=True)
    moved = {index: found for index, one in enumerate(asked) if (found := renamed_request(*one)) is not None}
    renames: dict[str, Found] = {}
    if moved:
        again = chain.fetch([request for _, request in moved.values()])
        for (index, (rename, _)), answer in zip(moved.items(), again, strict=True):
            # A rename that leads nowhere is no better than the symbol itself.
            if answer.parts:
                symbol, told_by = asks[index].symbol, fetched[index].asked[-1]
                fetched[index] = answer
                renames[symbol] = Found(symbol, rename.new, rename.on, told_by)
    own = [replace(answer, request=ask.request) for ask, answer in zip(asks, fetched, strict=True)]
    return own, list(renames.values())
