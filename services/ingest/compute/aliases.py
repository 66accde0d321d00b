"""Under which name a symbol is asked for, and what a rename means for its question. Pure."""

from collections.abc import Iterator, Sequence
from datetime import date

from services.ingest.model.market import ChainResult, Rename, Request
from services.ingest.model.stored import Alias, Candidate
from services.ingest.model.write_set import FetchRequest


def request_of(ask: FetchRequest, aliases: Sequence[Alias]) -> Request:
    """The question, under the name that is valid on its last session, with the names the security had before."""
    valid = _valid(ask, aliases)
    if valid is None:
        return Request(ask.symbol, ask.first, ask.last)
    # What a user says is all there is to know of it; vendors tell of one step at a time.
    steps = [valid] if valid.by_user else [alias for alias in aliases if not alias.by_user]
    formerly: list[Rename] = []
    name = ask.symbol
    for alias in sorted(steps, key=_day):
        if _day(alias) > date.min and _day(alias) <= max(_day(valid), date.min):
            formerly.append(Rename(name, alias.target, _day(alias)))
        name = alias.target
    return Request(valid.target, ask.first, ask.last, tuple(formerly), chosen=valid.by_user)


def choice_of(ask: FetchRequest, aliases: Sequence[Alias]) -> str | None:
    """What the user says the symbol is, for this question; None if nothing."""
    valid = _valid(ask, aliases)
    return valid.target if valid is not None and valid.by_user else None


def renamed_request(ask: FetchRequest, request: Request, answer: ChainResult) -> tuple[Rename, Request] | None:
    """The rename that is why an answer has no bars, or none any more, and the question under the new name; None if there is none."""
    rename = answer.renamed
    if rename is None or rename.new == request.symbol:
        return None
    newest = max(
        (part.history.bars.sessions[-1].item() for part in answer.parts if len(part.history.bars.sessions)),
        default=None,
    )
    if newest is not None and not newest < rename.on <= ask.last:
        return None
    former = Rename(request.symbol, rename.new, rename.on)
    return rename, Request(rename.new, ask.first, ask.last, (*request.formerly, former))


def candidates(ask: FetchRequest, answer: ChainResult) -> Iterator[Candidate]:
    for one in answer.candidates:
        yield Candidate(ask.symbol_id, one.symbol, one.exchange or "", one.name, one.asset_type, one.currency)


def _valid(ask: FetchRequest, aliases: Sequence[Alias]) -> Alias | None:
    return next((alias for alias in aliases if alias.valid_from <= ask.last <= alias.valid_to), None)


def _day(alias: Alias) -> date:
    return alias.renamed_on or alias.valid_from
