"""The one place where a vendor's split or dividend becomes an `Action`: finite, above zero, and of a size that can be.

Every later step multiplies and divides by these numbers; one of nought or of infinity would stop a batch, or be stored in every close.
"""

from collections.abc import Iterable
from datetime import date
from math import isfinite, prod
from typing import Final

from services.ingest.model.market import Action
from services.ingest.providers.errors import SchemaChanged

# New shares per old. The largest there were are some hundreds to one and tens of thousands to one the other way.
SPLIT_AT_MOST: Final = 1e6
# All splits of one symbol together: serial reverse splits of one company came to 2e11.
SPLITS_AT_MOST: Final = 1e18
# Cash per share. A share of Berkshire Hathaway is worth less than this.
DIVIDEND_AT_MOST: Final = 1e7


def split(provider: str, day: date, new: float, old: float = 1.0) -> Action:
    """`new` shares for `old` ones. Raises `SchemaChanged` for a ratio that no split has."""
    if not (isfinite(new) and isfinite(old) and new > 0 and old > 0):
        raise SchemaChanged(provider, f"a split of {new:g} for {old:g} on {day} can not be")
    value = new / old
    if not 1 / SPLIT_AT_MOST <= value <= SPLIT_AT_MOST:
        raise SchemaChanged(provider, f"a split of {new:g} for {old:g} on {day} can not be")
    return Action(day, "split", value)


def dividend(provider: str, day: date, value: float) -> Action:
    """Cash per share. Raises `SchemaChanged` for an amount that nobody pays."""
    if not (isfinite(value) and 0 < value <= DIVIDEND_AT_MOST):
        raise SchemaChanged(provider, f"a dividend of {value:g} on {day} can not be")
    return Action(day, "dividend", value)


def in_effect(actions: Iterable[Action], today: date) -> list[Action]:
    """Those that have happened, or will today. What is only announced is in no price yet, and may be called off."""
    return [action for action in actions if action.ex_date <= today]


def check_actions(provider: str, actions: tuple[Action, ...]) -> tuple[Action, ...]:
    """The actions of one symbol, if a price can be converted with all its splits. Raises `SchemaChanged`."""
    ratio = prod(action.value for action in actions if action.type == "split")
    if not 1 / SPLITS_AT_MOST <= ratio <= SPLITS_AT_MOST:
        raise SchemaChanged(provider, f"splits that make {ratio:g} shares of one can not be")
    return actions
