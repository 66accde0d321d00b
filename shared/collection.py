"""How often Python looks for cycles among containers that are long in use."""

from __future__ import annotations

import gc

# Documents, of a batch or of an answer, are thousands of small containers without cycles. At Python's usual 700, looking for some again
# and again is a sixth of what a batch costs, and a third of what a list of a thousand portfolios does.
COLLECT_AFTER = (50_000, 20, 100)


def collect_rarely() -> None:
    """For the whole process. What is in no cycle is freed at once, as ever."""
    gc.set_threshold(*COLLECT_AFTER)
