"""Under which name vendors are asked for a symbol: aliases, renames they tell of, and what may be meant. Blocks; in a thread."""

from collections.abc import Mapping, Sequence

from services.ingest.providers.base import Request
from services.ingest.providers.chain import Chain, Fetched
from services.ingest.store.aliases import Alias, Candidate, Found
from services.ingest.workflow.plan import Ask


def fetch(
    chain: Chain, asks: Sequence[Ask], aliases: Mapping[str, Sequence[Alias]]
) -> tuple[list[Fetched], list[Found]]:
    """Answers in order, under the symbols' own names, and renames found on the way. A renamed symbol is asked for once more.

    Vendors keep a security's whole history under its newest symbol, so one question serves both sides of the day.
    """
    fetched = chain.fetch([_request(ask, aliases) for ask in asks])
    told = [
        Found(ask.symbol, answer.renamed.new, answer.renamed.on, answer.asked[-1])
        if answer.renamed is not None and answer.renamed.new != answer.request.symbol and not answer.parts
        else None
        for ask, answer in zip(asks, fetched, strict=True)
    ]
    moved = [index for index, rename in enumerate(told) if rename is not None]
    found: dict[str, Found] = {}
    if moved:
        names = [rename.target for rename in told if rename is not None]
        again = chain.fetch(
            [Request(name, asks[index].first, asks[index].last) for index, name in zip(moved, names, strict=True)]
        )
        for index, answer in zip(moved, again, strict=True):
            rename = told[index]
            # A rename that leads nowhere is no better than the symbol itself.
            if answer.parts and rename is not None:
                fetched[index] = answer
                found[rename.symbol] = rename
    for ask, answer in zip(asks, fetched, strict=True):
        answer.request = ask.request
    return fetched, list(found.values())


def candidates(asks: Sequence[Ask], fetched: Sequence[Fetched]) -> list[Candidate]:
    return [
        Candidate(ask.symbol_id, one.symbol, one.exchange or "", one.name, one.asset_type, one.currency)
        for ask, answer in zip(asks, fetched, strict=True)
        for one in answer.candidates
    ]


def _request(ask: Ask, aliases: Mapping[str, Sequence[Alias]]) -> Request:
    name = next((a.target for a in aliases.get(ask.symbol, ()) if a.valid_from <= ask.last <= a.valid_to), ask.symbol)
    return Request(name, ask.first, ask.last)
