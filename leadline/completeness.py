"""What a status says to whoever asked: one state for many portfolios, and the exit code of `leadline status`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

INCOMPLETE, BELOW_GATE = 3, 4
# What is worse stands first.
STATES = ("blocked", "healing", "partial", "complete")


def _portfolios(answer: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return list(answer["items"]) if "items" in answer else [answer]


def is_healing(answer: Mapping[str, Any]) -> bool:
    """Whether waiting will change anything: something is missing that needs no person."""
    return any(each["state"] == "healing" for each in _portfolios(answer))


def exit_code(answer: Mapping[str, Any]) -> int:
    """0 complete, or partial with good prices behind enough of the value; 3 something is missing; 4 partial below the gate."""
    portfolios = _portfolios(answer)
    if any(each["state"] in ("healing", "blocked") for each in portfolios):
        return INCOMPLETE
    return BELOW_GATE if any(_below_gate(each) for each in portfolios) else 0


def _below_gate(portfolio: Mapping[str, Any]) -> bool:
    coverage = portfolio.get("coverage_min")
    return portfolio["state"] == "partial" and (coverage is None or coverage < portfolio["coverage_gate"])
