"""Numbers as people read them. What is unknown is a dash, never a zero."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from rich.markup import escape

DASH = "–"


def money(value: float | None) -> str:
    return DASH if value is None else f"{value:,.2f}"


def percent(value: float | None, digits: int = 2) -> str:
    """A decimal fraction as percent."""
    return DASH if value is None else f"{100 * value:.{digits}f} %"


def number(value: float | None, digits: int = 2) -> str:
    return DASH if value is None else f"{value:,.{digits}f}"


def count(value: float | None) -> str:
    """A number of things."""
    return DASH if value is None else f"{value:,}"


def said(value: object) -> str:
    """A word or a date as it is."""
    return DASH if value is None else escape(str(value))


def share(done: int, expected: int) -> str:
    """Completeness. Rounded down: 100 % means that nothing is missing."""
    if expected == 0:
        return "100 % (nothing expected)"
    return f"{int(1000 * done / expected) / 10:.1f} %" if done < expected else "100 %"


def words(reason: str | None) -> str:
    return "" if reason is None else reason.replace("_", " ")


def because(reasons: Iterable[Mapping[str, Any]], limit: int = 12) -> list[str]:
    """Reasons as lines, one per cause: which figures or symbols it touches."""
    grouped: dict[str, list[str]] = {}
    for reason in reasons:
        about = reason.get("symbol") or reason.get("figure")
        names = grouped.setdefault(str(reason.get("reason")), [])
        if about and about not in names:
            names.append(str(about))
    lines = []
    for reason_name, names in grouped.items():
        shown = ", ".join(names[:limit]) + (f" and {len(names) - limit} more" if len(names) > limit else "")
        lines.append(f"{words(reason_name)}: {shown}" if shown else words(reason_name))
    return lines
