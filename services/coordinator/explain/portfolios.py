"""Where a figure comes from: its value, formula, parameters, what leads to it, and the data behind it with provider and time."""

from __future__ import annotations

import asyncio
import difflib
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from datetime import date
from typing import Any
from uuid import UUID

from pydantic_core import to_json as to_text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.coordinator.errors import NotFound
from services.coordinator.explain import portfolio_sources
from services.coordinator.explain.formulas.model import Formula, Source
from services.coordinator.explain.formulas.registry import formula_of
from services.coordinator.explain.provenance import inputs
from services.coordinator.explain.scopes import scope_of
from services.coordinator.results import (
    attribution,
    book,
    liquidity,
    look_through,
    performance,
    portfolios,
    sector_exposures,
    snapshot_rows,
    thinned,
    valued_lots,
)
from services.coordinator.results.figures import Name, flatten, join_name
from services.coordinator.results.reasons import documents
from shared.work import Phase

# The answers there are, by the first part of a figure's name.
ANSWERS = (
    "snapshots", "positions", "exposures", "risk", "correlations", "stress", "scorecard", "performance", "attribution",
    "liquidity", "look_through", "sector_exposures",
)  # fmt: skip
# Names that are encoded before they are put together: by itself each is as much overhead as text.
_IN_A_PART = 1_000
# Worked out of snapshots when they are asked for: under the envelope of the session's snapshot.
_ON_SNAPSHOTS: Mapping[str, Callable[[AsyncConnection, UUID, date], Awaitable[dict[str, Any]]]] = {
    "performance": performance.document,
    "attribution": attribution.document,
    "liquidity": liquidity.document,
    "look_through": look_through.document,
}
_ENVELOPE = (
    "portfolio_id", "session", "revision", "model_version", "computed_at", "quality", "coverage", "provisional", "reasons", "stale",
)  # fmt: skip


async def explain(
    conn: AsyncConnection, portfolio: UUID, session: date | None, figure: str, *, lots: int | None = None
) -> dict[str, Any]:
    """The explanation as answered. `NotFound` names figures that are close.

    lots : at most so many of them are among the inputs; `inputs_total` then says how many inputs there are
    """
    envelope, figures = await _figures(conn, portfolio, session, answer_of(figure, ANSWERS))
    return await _explain_figure(conn, portfolio, figure, envelope, figures, lots)


async def explain_many(
    conn: AsyncConnection, portfolio: UUID, session: date | None, figures: Sequence[str]
) -> dict[str, Any]:
    """Explanations of several figures of a session; one that there is not is listed with why, beside the others."""
    answers: dict[str, tuple[dict[str, Any], dict[Name, Any]]] = {}
    items: list[dict[str, Any]] = []
    unknown: list[dict[str, str]] = []
    await portfolios.require_portfolio(conn, portfolio)
    for figure in dict.fromkeys(figures):
        try:
            answer = answer_of(figure, ANSWERS)
            if answer not in answers:
                answers[answer] = await _figures(conn, portfolio, session, answer)
            items.append(await _explain_figure(conn, portfolio, figure, *answers[answer]))
        except NotFound as error:
            unknown.append({"figure": figure, "code": error.code, "message": str(error)})
    return {"portfolio_id": str(portfolio), "items": items, "unknown": unknown}


async def _explain_figure(
    conn: AsyncConnection,
    portfolio: UUID,
    figure: str,
    envelope: Mapping[str, Any],
    figures: Mapping[Name, Any],
    lots: int | None = None,
) -> dict[str, Any]:
    # Off the event loop: names that are close are looked for among tens of thousands.
    try:
        name, formula = await asyncio.to_thread(find_figure, figure, figures, envelope["session"])
    except NotFound:
        if thinned.is_thinned(envelope):
            raise thinned.ThinnedOut(envelope["session"]) from None
        raise
    scope = await scope_of(conn, portfolio, date.fromisoformat(envelope["session"]), formula, name, figures)
    script = await portfolio_sources.script(conn, scope) if Source.SCENARIO in formula.sources else None
    return {
        **envelope,
        "figure": join_name(name),
        "value": figures[name],
        "formula": formula.text,
        "parameters": dict(formula.parameters) | (script["parameters"] if script else {}),
        "steps": steps(formula, name, figures),
        **await inputs(conn, formula, scope, lots),
    }


async def names(conn: AsyncConnection, portfolio: UUID, session: date | None) -> dict[str, Any]:
    """All figures of a session that can be explained; matrices and betas by symbol are many."""
    found: list[dict[str, Any]] = []
    when = await _for_each_answer(conn, portfolio, session, lambda figures: found.extend(list_figures(figures)))
    return {"portfolio_id": str(portfolio), "session": when, "figures": found}


async def names_json(conn: AsyncConnection, portfolio: UUID, session: date | None) -> bytes:
    """The same as JSON, byte for byte what the document would be encoded to: of fifty thousand lots it is a hundred megabytes, and as
    objects several times that."""
    parts: list[bytes] = []

    def add(figures: Mapping[Name, Any]) -> None:
        for part in _list_as_json(figures):
            parts.extend((b",", part) if parts else (part,))

    when = await _for_each_answer(conn, portfolio, session, add)
    head = b'{"portfolio_id":"%b","session":%b,"figures":[' % (str(portfolio).encode(), to_text(when))
    return await asyncio.to_thread(b"".join, [head, *parts, b"]}"])


async def _for_each_answer(
    conn: AsyncConnection, portfolio: UUID, session: date | None, use: Callable[[Mapping[Name, Any]], None]
) -> str | None:
    """Let a function use, in a thread, the figures of each answer that the session has, in their order. The newest session of them."""
    when: str | None = None
    for answer in ANSWERS:
        try:
            envelope, figures = await _figures(conn, portfolio, session, answer)
        except NotFound:
            # The session may be without risk; whether the portfolio exists is asked here again.
            await portfolios.require_portfolio(conn, portfolio)
            continue
        when = max(when or envelope["session"], envelope["session"])
        await asyncio.to_thread(use, figures)
        # Not beside those of the next answer.
        del figures
    return when


async def values_of(conn: AsyncConnection, portfolio: UUID, session: date | None, answer: str) -> dict[str, Any]:
    """The values of all figures of one of `ANSWERS`, by name. Raises `NotFound` where the session has none."""
    _, figures = await _figures(conn, portfolio, session, answer)
    return {join_name(name): value for name, value in figures.items()}


async def check_name(conn: AsyncConnection, portfolio: UUID, figure: str) -> None:
    """Raises `NotFound` where the newest session has no figure of that name. Nothing is refused before there is a session."""
    try:
        envelope, figures = await _figures(conn, portfolio, None, answer_of(figure, ANSWERS))
    except NotFound:
        return
    await asyncio.to_thread(find_figure, figure, figures, envelope["session"])


def answer_of(figure: str, answers: Collection[str]) -> str:
    """The first part of a figure's name. Raises `NotFound` where it is none of the answers."""
    answer = figure.strip().partition(".")[0]
    if answer not in answers:
        raise NotFound(f"A figure's name begins with one of {', '.join(answers)}. Without `figure` all are listed.")
    return answer


def find_figure(figure: str, figures: Mapping[Name, Any], session: str) -> tuple[Name, Formula]:
    """The figure of that name and its formula. Raises `NotFound` with the names that are close."""
    figure = figure.strip()
    known = {join_name(name): name for name in figures}
    name = known.get(figure)
    if name is None:
        close = ", ".join(difflib.get_close_matches(figure, known, n=3))
        raise NotFound(
            f"There is no figure {figure[:100]!r} on session {session}."
            + (f" Did you mean {close}?" if close else " Without `figure` all are listed.")
        )
    formula = formula_of(name)
    assert formula is not None, figure
    return name, formula


def list_figures(figures: Mapping[Name, Any]) -> list[dict[str, Any]]:
    """Every figure by name, with its formula."""
    formulas = {name: formula_of(name) for name in figures}
    return [{"figure": join_name(name), "formula": of.text if of else None} for name, of in formulas.items()]


def _list_as_json(figures: Mapping[Name, Any]) -> Iterator[bytes]:
    """What `list_figures` lists, in parts that stand between commas."""
    texts: dict[str | None, bytes] = {}
    found: list[bytes] = []
    for name in figures:
        of = formula_of(name)
        text = of.text if of else None
        if text not in texts:
            texts[text] = to_text(text)
        found.append(b'{"figure":%b,"formula":%b}' % (to_text(join_name(name)), texts[text]))
        if len(found) == _IN_A_PART:
            yield b",".join(found)
            found = []
    if found:
        yield b",".join(found)


def steps(formula: Formula, name: Name, figures: Mapping[Name, Any]) -> list[dict[str, Any]]:
    """The figures that lead to this one: beside it, or beside what it is part of."""
    found = []
    for step in formula.steps:
        for depth in range(len(name), 0, -1):
            beside = (*name[:depth], *step.split("."))
            if beside in figures and beside != name:
                found.append({"name": join_name(beside), "value": figures[beside]})
                break
    return found


async def _figures(
    conn: AsyncConnection, portfolio: UUID, session: date | None, answer: str
) -> tuple[dict[str, Any], dict[Name, Any]]:
    """The envelope of an answer, and all its figures by name."""
    if answer == "positions":
        document = await valued_lots.read(conn, portfolio, session)
    elif answer in ("snapshots", *_ON_SNAPSHOTS):
        # Fifty thousand lots are seconds, and nothing of them is in these.
        document = await valued_lots.read_envelope(conn, portfolio, session)
    elif answer == "scorecard":
        document = await portfolios.scorecard_document(conn, portfolio, session)
    elif answer == "sector_exposures":
        document = (await book.read(conn, portfolio, session)).envelope
    else:
        document = await portfolios.risk_document(conn, portfolio, answer, session)
    envelope = {key: document[key] for key in _ENVELOPE}
    if answer == "snapshots":
        when = date.fromisoformat(document["session"])
        [document] = (await snapshot_rows.read(conn, portfolio, when, when))["items"]
    elif answer in _ON_SNAPSHOTS:
        document = await _ON_SNAPSHOTS[answer](conn, portfolio, date.fromisoformat(document["session"]))
    elif answer == "sector_exposures":
        document = await sector_exposures.document(conn, portfolio, date.fromisoformat(document["session"]))
    if answer in _ON_SNAPSHOTS or answer == "sector_exposures":
        # Of what is worked out no session has stored why it is null.
        phase = Phase.SNAPSHOTS if answer in _ON_SNAPSHOTS else Phase.RISK
        envelope["reasons"] = envelope["reasons"] + documents(document["reasons"], (), phase=phase.value)
    return envelope, await asyncio.to_thread(flatten, answer, thinned.drop_sections(document))
