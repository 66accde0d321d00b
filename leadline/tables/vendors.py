"""What vendors withhold at the moment: who is not asked, and a yield curve that stays away."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape

from leadline.tables.text import words


def render_refusals(console: Console, refusals: Sequence[Mapping[str, Any]]) -> None:
    """Each provider that is not asked: until when, and in whose words."""
    for refusal in refusals:
        said = f": {escape(refusal['said'])}" if refusal.get("said") else ""
        console.print(
            f"[yellow]{escape(refusal['provider'])}[/yellow] is not asked until {_moment(refusal['until'])} "
            f"({words(refusal['reason'] or 'provider_down')}){said}",
            soft_wrap=True,
        )


def render_curve(console: Console, curve: Mapping[str, Any] | None) -> None:
    """Only where something is wrong: a curve that stays away makes the stress of rates stale."""
    if curve is not None and curve.get("fault"):
        newest = f"the newest is of {curve['date']}" if curve.get("date") else "there is none"
        console.print(f"[yellow]yield curve[/yellow]: {newest}; {escape(curve['fault'])}", soft_wrap=True)


def _moment(instant: str) -> str:
    """An instant of an answer, to the second."""
    return f"{instant[:10]} {instant[11:19]} UTC"
