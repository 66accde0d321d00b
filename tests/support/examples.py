"""How many examples Hypothesis draws: each run draws others, so a suite that is run all day need not draw many at once."""

from __future__ import annotations

import os

from tests.support.groups import LONG


def examples(thorough: int) -> int:
    """A third of them in the suite, all of them with LEADLINE_TEST_LONG=1."""
    return thorough if os.environ.get(LONG) else max(8, thorough // 3)
