"""Named crash points, for the tests that kill processes at every commit and publish boundary.

Inert unless `LEADLINE_CRASH_AT` names a point: `H7` dies the first time it is reached, `H7:3` the third. Death is SIGKILL to
oneself: no handler, no flush, no goodbye, as when the machine loses power.
"""

from __future__ import annotations

import os
import signal

_target, _, _count = os.environ.get("LEADLINE_CRASH_AT", "").partition(":")
_remaining = {_target: int(_count) if _count.isdigit() else 1}


def failpoint(name: str) -> None:
    """Die here, if this is where the test wants it."""
    if name != _target:
        return
    _remaining[name] -= 1
    if _remaining[name] == 0:
        os.kill(os.getpid(), signal.SIGKILL)
