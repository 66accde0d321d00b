"""`make bench`: every benchmark one after the other, or one of them: `make bench ARGS="night --portfolios 1000 --json FILE"`."""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

# Each in a process of its own: what one leaves in memory would be measured in the next.
BENCHMARKS = ("risk", "onboarding", "night")
PORTFOLIOS = 1000


def _count(given: str) -> int:
    number = int(given)
    if number < 1:
        raise ValueError
    return number


def parser() -> argparse.ArgumentParser:
    found = argparse.ArgumentParser(
        prog="python -m tests.bench", description="Without arguments every benchmark, one after the other."
    )
    parts = found.add_subparsers(dest="benchmark", metavar="{risk,onboarding,night}")
    parts.add_parser("risk", help="what the shape of a batch costs")
    onboarding = parts.add_parser("onboarding", help="13 positions over 500 sessions, against the yardstick")
    night = parts.add_parser("night", help="one session of portfolios of 30 positions, against the yardstick")
    _count.__name__ = "number of at least 1"
    night.add_argument("--portfolios", type=_count, default=PORTFOLIOS, metavar="N", help=f"how many ({PORTFOLIOS})")
    for part in (onboarding, night):
        part.add_argument("--json", type=Path, metavar="FILE", help="write the figures there as one JSON document")
    return found


def main(given: Sequence[str]) -> int:
    """Exit code: 0, 1 if a benchmark failed, 2 for arguments that are none. A goal that is missed is printed and no failure."""
    asked = parser().parse_args(given)
    if asked.benchmark is None:
        commands = [[sys.executable, "-m", "tests.bench", name] for name in BENCHMARKS]
        return max(min(1, abs(subprocess.run(command, check=False).returncode)) for command in commands)
    if asked.benchmark == "risk":
        from tests.bench import risk

        return risk.main()
    file = asked.json
    if file is not None and not file.resolve().parent.is_dir():
        sys.stderr.write(f"--json {file}: there is no directory {file.resolve().parent}; make it first\n")
        return 2
    from tests.bench import pipeline

    pipeline.run(asked.benchmark, getattr(asked, "portfolios", 1), file)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
