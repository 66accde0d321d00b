"""What can be known to be mistyped without asking the server: exit code 2, and nothing is sent."""

from __future__ import annotations

import re
from datetime import date

import typer

# ASCII digits: Python reads others too, and a server would not.
_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,2})?")
_ISO = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


def day(text: str | None) -> str | None:
    """A date as YYYY-MM-DD."""
    if text is not None:
        try:
            if not _ISO.fullmatch(text):
                raise ValueError
            date.fromisoformat(text)
        except ValueError:
            raise typer.BadParameter(f"{text!r} is not a date; write it as YYYY-MM-DD") from None
    return text


def amount(text: str) -> str:
    """A number; what it may be is for the server to say."""
    if not _NUMBER.fullmatch(text.strip()):
        raise typer.BadParameter(f"{text!r} is not a number; use digits and a point")
    return text


def optional_amount(text: str | None) -> str | None:
    return None if text is None else amount(text)


def assert_in_order(first: str | None, last: str | None) -> None:
    """Both checked before: of this form, the later date is the larger text."""
    if first is not None and last is not None and first > last:
        raise typer.BadParameter(f"--from {first} is after --to {last}")


def assert_one_of(portfolio: str | None, symbol: str | None) -> None:
    """What is asked about is a portfolio or a symbol, not both."""
    if (portfolio is None) == (symbol is None):
        raise typer.BadParameter("give a portfolio, or --symbol SYMBOL")
