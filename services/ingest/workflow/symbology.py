"""Under which name vendors are asked for a symbol: aliases, renames they tell of, and what may be meant. Blocks; in a thread."""

from collections.abc import Mapping, Sequence
from datetime import date

from services.ingest.model.market import ChainResult, Rename, Request
from services.ingest.model.stored import Alias, Candidate, Found
from services.ingest.model.write_set import FetchRequest
from services.ingest.providers.chain import Chain


def fetch(
    chain: Chain, asks: Sequence[FetchRequest], aliases: Mapping[str, Sequence[Alias]]
) -> tuple[list[ChainResult], list[Found]]:
    """Answers in order, under the symbols' own names, and renames found on the way. A renamed symbol is asked for once more,
    over both sides of the day: one question, one series."""
    requests = [request_of(ask, aliases) for ask in asks]
    fetched = chain.fetch(requests)
    moved: dict[int, tuple[Rename, Request]] = {}
    for index, (ask, request, answer) in enumerate(zip(asks, requests, fetched, strict=True)):
        rename = answer.renamed
        if rename is not None and rename.new != request.symbol and _ended_by(rename, answer, ask.last):
            former = Rename(request.symbol, rename.new, rename.on)
            moved[index] = rename, Request(rename.new, ask.first, ask.last, (*request.formerly, former))
    found: dict[str, Found] = {}
    if moved:
        again = chain.fetch([request for _, request in moved.values()])
        for (index, (rename, _)), answer in zip(moved.items(), again, strict=True):
            # A rename that leads nowhere is no better than the symbol itself.
            if answer.parts:
                told_by = fetched[index].asked[-1]
                fetched[index] = answer
                found[asks[index].symbol] = Found(asks[index].symbol, rename.new, rename.on, told_by)
    for ask, answer in zip(asks, fetched, strict=True):
        answer.request = ask.request
    return fetched, list(found.values())


def candidates(asks: Sequence[FetchRequest], fetched: Sequence[ChainResult]) -> list[Candidate]:
    return [
        Candidate(ask.symbol_id, one.symbol, one.exchange or "", one.name, one.asset_type, one.currency)
        for ask, answer in zip(asks, fetched, strict=True)
        for one in answer.candidates
    ]


def request_of(ask: FetchRequest, aliases: Mapping[str, Sequence[Alias]]) -> Request:
    """The question, under the name that is valid on its last session, with the names the security had before."""
    known = aliases.get(ask.symbol, ())
    valid = next((alias for alias in known if alias.valid_from <= ask.last <= alias.valid_to), None)
    if valid is None:
        return Request(ask.symbol, ask.first, ask.last)
    # What a user says is all there is to know of it; vendors tell of one step at a time.
    steps = [valid] if valid.by_user else [alias for alias in known if not alias.by_user]
    formerly: list[Rename] = []
    name = ask.symbol
    for alias in sorted(steps, key=_day):
        if _day(alias) > date.min and _day(alias) <= max(_day(valid), date.min):
            formerly.append(Rename(name, alias.target, _day(alias)))
        name = alias.target
    return Request(valid.target, ask.first, ask.last, tuple(formerly), chosen=valid.by_user)


def choice_of(ask: FetchRequest, aliases: Mapping[str, Sequence[Alias]]) -> str | None:
    """What the user says the symbol is, for this question; None if nothing."""
    known = aliases.get(ask.symbol, ())
    valid = next((alias for alias in known if alias.valid_from <= ask.last <= alias.valid_to), None)
    return valid.target if valid is not None and valid.by_user else None


def _day(alias: Alias) -> date:
    return alias.renamed_on or alias.valid_from


def _ended_by(rename: Rename, answer: ChainResult, last: date) -> bool:
    """Whether the rename is why there are no bars, or none any more."""
    newest = max(
        (part.history.bars.sessions[-1].item() for part in answer.parts if len(part.history.bars.sessions)),
        default=None,
    )
    return newest is None or newest < rename.on <= last
