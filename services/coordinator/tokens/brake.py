"""Slows whoever guesses tokens: a few wrong ones at once, then one every few seconds. Bounded in memory."""

from __future__ import annotations

import ipaddress
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

BURST = 10
SECONDS_PER_GUESS = 6.0
# Addresses, and tokens that were right from one: the oldest go first.
MOST = 4_096


@dataclass
class Brake:
    """Wrong tokens by client address, and which tokens were right from where.

    One who is let in goes on while somebody guesses from the same address: behind a proxy, or on one machine, all have it.
    """

    clock: Callable[[], float] = time.monotonic
    _debts: OrderedDict[str, tuple[float, float]] = field(default_factory=OrderedDict)
    _right: OrderedDict[tuple[str, bytes], None] = field(default_factory=OrderedDict)

    def seconds_to_wait(self, address: str, digest: bytes) -> float:
        """0 where a token of that digest may be looked at now."""
        place = _place(address)
        if (place, digest) in self._right:
            return 0.0
        return max(0.0, (self._debt(place) - (BURST - 1)) * SECONDS_PER_GUESS)

    def note_wrong(self, address: str, digest: bytes) -> None:
        place = _place(address)
        self._right.pop((place, digest), None)
        self._debts[place] = (self._debt(place) + 1.0, self.clock())
        self._debts.move_to_end(place)
        while len(self._debts) > MOST:
            self._debts.popitem(last=False)

    def note_right(self, address: str, digest: bytes) -> None:
        key = (_place(address), digest)
        self._right[key] = None
        self._right.move_to_end(key)
        while len(self._right) > MOST:
            self._right.popitem(last=False)

    def _debt(self, place: str) -> float:
        debt, at = self._debts.get(place, (0.0, 0.0))
        return max(0.0, debt - (self.clock() - at) / SECONDS_PER_GUESS)


def _place(address: str) -> str:
    """Of IPv6 the network: one machine has as many addresses as it likes."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address[:100]
    if found.version == 4:
        return str(found)
    return str(ipaddress.ip_network((found, 64), strict=False))
