"""How often Python looks for cycles among containers that are long in use, and how often threads take turns."""

from __future__ import annotations

import gc
import sys

# Documents, of a batch or of an answer, are thousands of small containers without cycles. At Python's usual 700, looking for some again
# and again is a sixth of what a batch costs, and a third of what a list of a thousand portfolios does. At 50,000 a look found 44,000 that
# clients of the broker had left, and took 80 ms of processor, for which nobody was answered.
COLLECT_AFTER = (10_000, 20, 100)
# A thread that parses a file keeps the interpreter this long at a time before it lets the event loop go on; usually five times that,
# and an answer waits for its turn several times.
SWITCH_SECONDS = 0.001


def switch_often() -> None:
    """For the whole process: answers come before work in its threads."""
    sys.setswitchinterval(SWITCH_SECONDS)


def collect_rarely() -> None:
    """For the whole process. What is in no cycle is freed at once, as ever."""
    gc.set_threshold(*COLLECT_AFTER)


def collect_from_now_on() -> None:
    """For the whole process, once it has started: what there is by now stays as long as the process, and is not looked through again."""
    gc.freeze()
    gc.enable()
