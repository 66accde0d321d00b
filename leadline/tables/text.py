"""Numbers as people read them. What is unknown is a dash, never a zero."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from typing import Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.text import Text

DASH = "–"
# What acts on a terminal instead of standing in it, or is not seen: controls but tab and line ends, marks of direction, what has
# no width. A server refuses them in names, and an older one, a file or a message may still hold them.
_ACTS = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff"
    "\u00ad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\U000e0000-\U000e0fff]"
    "|\r(?!\n)"
)
_IN_ITS_PLACE = "\N{REPLACEMENT CHARACTER}"


def safe(words: str) -> str:
    """Words for a terminal. Each such character is replaced, not dropped: what stood around it could be markup without it."""
    return _ACTS.sub(_IN_ITS_PLACE, words)


class SafeConsole(Console):
    """A console that prints what servers and files say, and does nothing of what they would have it do."""

    def render_str(self, text: str, **options: Any) -> Text:
        """Every string that Rich prints comes by here: cells, titles and headers of tables too."""
        return super().render_str(safe(text), **options)


def echo(words: str, *, err: bool = False) -> None:
    """Print a line as it is, without markup."""
    typer.echo(safe(words), err=err)


def money(value: float | None) -> str:
    return DASH if value is None else f"{value:,.2f}"


def percent(value: float | None, digits: int = 2) -> str:
    """A decimal fraction as percent."""
    return DASH if value is None else f"{100 * value:.{digits}f} %"


def number(value: float | None, digits: int = 2) -> str:
    return DASH if value is None else f"{value:,.{digits}f}"


def price(value: float | None) -> str:
    """A price a share, with the digits it needs: two, and below ten at least four, as many as show four that say something."""
    if value is None:
        return DASH
    digits = 2 if value == 0 or abs(value) >= 10 else min(12, max(4, 3 - math.floor(math.log10(abs(value)))))
    text = f"{value:,.{digits}f}"
    whole, _, rest = text.partition(".")
    return f"{whole}.{rest.rstrip('0').ljust(2, '0')}"


def shares(value: float | None, digits: int = 10) -> str:
    """A quantity, without zeros at its end."""
    if value is None:
        return DASH
    text = f"{value:,.{digits}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def count(value: float | None) -> str:
    """A number of things."""
    return DASH if value is None else f"{value:,}"


def text(value: object) -> str:
    """A word or a date as it is."""
    return DASH if value is None else escape(str(value))


def share(done: int, expected: int) -> str:
    """Completeness. Rounded down: 100 % means that nothing is missing."""
    if expected == 0:
        return "100 % (nothing expected)"
    return f"{int(1000 * done / expected) / 10:.1f} %" if done < expected else "100 %"


def words(reason: str | None) -> str:
    return "" if reason is None else reason.replace("_", " ")


def thinned_out(answer: Mapping[str, Any] | None) -> str | None:
    """How the figures are had again of a session of which they are not kept; None of any other."""
    found = (reason["remedy"] for reason in (answer or {}).get("reasons") or () if reason["reason"] == "thinned_out")
    return next(found, None)


def reasons_text(reasons: Iterable[Mapping[str, Any]], limit: int = 12) -> list[str]:
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
