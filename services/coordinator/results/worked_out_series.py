"""Figures over time that are worked out when they are asked for: performance, attribution, days to sell, what stands behind funds."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from services.coordinator.results import attribution, liquidity, look_through, performance, sector_exposures
from services.coordinator.results.figures import flatten
from services.coordinator.results.named_values import Values, select_figures, unknown_figure
from shared.market.registry import SECTOR_FUNDS

_BEHIND = "look_through.items."
Reasons = Sequence[tuple[date, Mapping[str, Any]]]
"""By session why a figure is null, or what is to be said of it."""


async def read_performance(
    conn: AsyncConnection, window: Mapping[str, Any], names: Sequence[str], *, strict: bool
) -> tuple[Values, Reasons]:
    """Of everything from the portfolio's first session to each session, as a single answer without `from` is. Known by name."""
    del strict
    known = {f"performance.{figure}": figure for figure in performance.FIGURES}
    for name in names:
        if name not in known:
            raise unknown_figure(name, known)
    found, reasons = await performance.series(
        conn, window["id"], window["first"], window["last"], [known[name] for name in names]
    )
    return {name: found[known[name]] for name in names}, reasons


async def read_attribution(
    conn: AsyncConnection, window: Mapping[str, Any], names: Sequence[str], *, strict: bool
) -> tuple[Values, Reasons]:
    """Of each session alone."""
    found = await attribution.series(conn, window["id"], window["first"], window["last"])
    return await asyncio.to_thread(_select, "attribution", found, names, strict=strict)


async def read_liquidity(
    conn: AsyncConnection, window: Mapping[str, Any], names: Sequence[str], *, strict: bool
) -> tuple[Values, Reasons]:
    """Of each session alone, of the symbols that are asked for."""
    found = await liquidity.series(conn, window["id"], window["first"], window["last"], names)
    return await asyncio.to_thread(_select, "liquidity", found, names, strict=strict)


async def read_look_through(
    conn: AsyncConnection, window: Mapping[str, Any], names: Sequence[str], *, strict: bool
) -> tuple[Values, Reasons]:
    """Of each session alone. Behind a fund are thousands of names: those that are asked for are laid out, and no other."""
    asked = {name.removeprefix(_BEHIND).rpartition(".")[0] for name in names if name.startswith(_BEHIND)}
    found = await look_through.series(conn, window["id"], window["first"], window["last"], asked)
    return await asyncio.to_thread(_select, "look_through", found, names, strict=strict)


async def read_sector_exposures(
    conn: AsyncConnection, window: Mapping[str, Any], names: Sequence[str], *, strict: bool
) -> tuple[Values, Reasons]:
    """Of each session alone, of the sectors that are asked for."""
    asked = {name.split(".")[1] for name in names if name.count(".") > 1}
    # Of a sector that there is not all are wanted: those that are close are named.
    sectors = asked if all(name in SECTOR_FUNDS for name in asked) else set(SECTOR_FUNDS)
    found = await sector_exposures.series(conn, window["id"], window["first"], window["last"], sectors)
    return await asyncio.to_thread(_select, "sector_exposures", found, names, strict=strict)


def _select(
    which: str, found: Sequence[tuple[date, Mapping[str, Any]]], names: Sequence[str], *, strict: bool
) -> tuple[Values, Reasons]:
    """found : documents with their `reasons`"""
    flat = ((session, flatten(which, figures)) for session, figures in found)
    reasons = [(session, entry) for session, figures in found for entry in figures["reasons"]]
    return select_figures(flat, names, strict=strict), reasons
