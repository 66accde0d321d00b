"""When two rows of a list are one payment. Vendors list some twice: once more exactly, at another hour, or on the day after a holiday."""

from datetime import date, timedelta
from typing import Final

# Amounts of one payment differ by rounding to cents, or by the day's rate of exchange.
ALIKE: Final = 0.01
# No fund pays its holders more often than weekly; a payment of the same amount within so many days is the same one.
SAME_PAYMENT: Final = timedelta(days=4)


def is_alike(one: float, other: float) -> bool:
    return abs(one - other) <= ALIKE * max(abs(one), abs(other))


Mark = tuple[str | None, ...]
"""What a list tells of a payment beside day and amount (when it is paid, of what kind); None where it does not tell."""


def agree(one: Mark, other: Mark) -> bool:
    """Whether two marks may be of one payment: what both tell is the same."""
    return all(None in (mine, theirs) or mine == theirs for mine, theirs in zip(one, other, strict=False))


class Payments:
    """Payments of one symbol by ex-date, each known by its amount, and by a mark where the list has one."""

    def __init__(self) -> None:
        self._seen: dict[date, list[tuple[float, Mark]]] = {}

    def is_new(self, day: date, amount: float, mark: Mark = (), *, around: timedelta = timedelta(0)) -> bool:
        """Whether the payment was not listed before, and remember it.

        around : how far apart the days of two rows of one payment may lie
        """
        known = [
            one
            for offset in range(-around.days, around.days + 1)
            for one in self._seen.get(day + timedelta(days=offset), [])
        ]
        if any(is_alike(amount, paid) and agree(mark, other) for paid, other in known):
            return False
        self._seen.setdefault(day, []).append((amount, mark))
        return True
