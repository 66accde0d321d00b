"""`make bench`: every benchmark one after the other, or one of them: `make bench ARGS="night --portfolios 1000 --json FILE"`.

`ARGS=--full`: all of them at the sizes that their goals name, which takes most of an hour.
"""

from __future__ import annotations

import argparse
import importlib
import json
import logging
import os
import signal
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tests.bench import measured
from tests.bench.measured import Found, Measured
from tests.bench.parts import COMMAND, run_part


@dataclass(frozen=True)
class Part:
    """function : `module:name` in this package, called with the sizes; sizes : its arguments and what they are if not given.

    in_all : sizes in a run of everything, where those above would take longer than such a run should; None: it is in none but a full one
    full   : sizes in a run of everything in full, where they are others
    """

    function: str
    words: str
    sizes: Mapping[str, int] = field(default_factory=dict)
    in_all: Mapping[str, int] | None = field(default_factory=dict)
    full: Mapping[str, int] = field(default_factory=dict)


# In this order, each in a process of its own: what one leaves in memory would be measured in the next.
PARTS: Mapping[str, Part] = {
    "arithmetic": Part("arithmetic:run", "regressions and volatilities alone, against statsmodels and pandas"),
    "risk": Part("risk:run", "what the shape of a batch costs"),
    "onboarding": Part("pipeline:run_onboarding", "13 positions over 500 sessions, against the yardstick; their disk"),
    "night": Part(
        "pipeline:run_night",
        "one session of portfolios of 30 positions, against the yardstick",
        {"portfolios": 1000, "times": 1},
        {"times": 3},
        {"times": 5},
    ),
    "large": Part(
        "large:run",
        "such a session of ten thousand over 2,000 symbols, against a thousand",
        {"portfolios": 10_000, "times": 5},
        None,
    ),
    "steps": Part(
        "steps:run",
        "four dependent durable steps without work, against a set-based asyncio program",
        {"portfolios": 1000, "sessions": 20},
    ),
    "peers": Part(
        "peers.compare:run",
        "the same steps with DBOS, Prefect, Dagster and Celery, each in an environment of its own",
        {"portfolios": 1000, "sessions": 20, "pairs": 200},
    ),
    "backfill": Part(
        "history:run_backfill",
        "portfolios of 30 positions over 500 sessions at once, nothing stored, against one by one",
        {"portfolios": 100, "sessions": 500},
        {"portfolios": 20},
    ),
    "corrected": Part(
        "history:run_corrected",
        "one corrected close of the market's proxy: what is computed again, and what that costs",
        {"portfolios": 500, "sessions": 250, "back": 100},
        {"portfolios": 20},
    ),
    "embedded": Part(
        "embedded:run",
        "`leadline up` on a state that exists: ready, memory, and answers while a night runs",
        {"portfolios": 1000, "sessions": 250},
        {"portfolios": 200},
    ),
    "replicas": Part(
        "replicas:run",
        "a night shared by 1, 2 and 4 replicas of each computing service on Apache Kafka; one of each killed",
        {"portfolios": 2000},
        {"portfolios": 1000},
        {"portfolios": 1000},
    ),
    "latency": Part(
        "latency:run",
        "a vendor who takes his time over each symbol, asked by 1, 2 and 4 replicas of ingest",
        {"portfolios": 24, "milliseconds": 500},
    ),
    "ledger": Part(
        "ledger:run",
        "status, list, what is missing and a night added, among the units of years",
        {"portfolios": 10_000, "sessions": 1250},
        {"sessions": 125},
    ),
}
PAPER = "write the figures there as a table in Markdown, with the facts of the machine"


def _count(given: str) -> int:
    number = int(given)
    if number < 1:
        raise ValueError
    return number


def parser() -> argparse.ArgumentParser:
    found = argparse.ArgumentParser(
        prog="python -m tests.bench", description="Without arguments every benchmark, one after the other."
    )
    found.add_argument("--json", type=Path, metavar="FILE", dest="whole", help="of every benchmark, as one document")
    found.add_argument("--markdown", type=Path, metavar="FILE", dest="paper", help=PAPER)
    found.add_argument(
        "--full",
        action="store_true",
        help="at the sizes that goals name, and the long ones too; of all",
    )
    parts = found.add_subparsers(dest="benchmark", metavar=f"{{{','.join(PARTS)}}}")
    _count.__name__ = "number of at least 1"
    for name, part in PARTS.items():
        one = parts.add_parser(name, help=part.words)
        for size, usual in part.sizes.items():
            one.add_argument(f"--{size}", type=_count, default=usual, metavar="N", help=f"how many ({usual:,})")
        one.add_argument("--json", type=Path, metavar="FILE", help="write the figures there as one JSON document")
        one.add_argument("--figures", type=Path, help=argparse.SUPPRESS)
    return found


def main(given: Sequence[str]) -> int:
    """Exit code: 0, 1 if a benchmark failed, 2 for arguments that are none. A goal that is missed is printed and no failure."""
    asked = parser().parse_args(given)
    alone = asked.benchmark is not None
    for option, file in (("--json", asked.json if alone else asked.whole), ("--markdown", asked.paper)):
        if file is not None and not file.resolve().parent.is_dir():
            sys.stderr.write(f"{option} {file}: there is no directory {file.resolve().parent}; make it first\n")
            return 2
    logging.getLogger("aiokafka").setLevel(logging.ERROR)
    # As by Ctrl-C: servers that were started are stopped.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    facts = measured.machine()
    if alone and asked.full:
        sys.stderr.write("--full is of all benchmarks; give the one its sizes, which --help tells\n")
        return 2
    if not alone:
        return _everything(facts, asked.whole, asked.paper, full=asked.full)
    part = PARTS[asked.benchmark]
    module, _, name = part.function.partition(":")
    found: Found = getattr(importlib.import_module(f"tests.bench.{module}"), name)(
        **{size: getattr(asked, size) for size in part.sizes}
    )
    for figure in found.figures:
        sys.stdout.write(figure.line() + "\n")
    if asked.figures is not None:
        measured.write(asked.figures, found.figures)
    if asked.json is not None:
        asked.json.write_text(json.dumps(found.document or _document(facts, found.figures)) + "\n")
    if asked.paper is not None:
        asked.paper.write_text(measured.heading(facts) + "\n" + measured.table(found.figures))
    return 0


def _everything(facts: Mapping[str, Any], file: Path | None, paper: Path | None, *, full: bool) -> int:
    """Each part in turn; one that fails is told and does not keep the others from running."""
    figures: list[Measured] = []
    worst = 0
    with tempfile.TemporaryDirectory(prefix="leadline-bench-") as directory:
        for name, part in PARTS.items():
            written = Path(directory) / f"{name}.json"
            given = part.full if full else part.in_all
            if given is None:
                continue
            sizes = [word for size, number in given.items() for word in (f"--{size}", str(number))]
            command = [sys.executable, *COMMAND, name, *sizes, "--figures", str(written)]
            began, worked = time.monotonic(), _processor_time()
            code = min(1, abs(run_part(command)))
            took, used = time.monotonic() - began, _processor_time() - worked
            sys.stdout.write(f"    {name} took {took:.0f} s, and {used:.0f} s of processor time\n")
            sys.stdout.flush()
            worst = max(worst, code)
            if code:
                figures.append(Measured(name, part.words, None, note="the run failed"))
            elif written.exists():
                figures += measured.read(written)
    page = measured.heading(facts) + "\n" + measured.table(figures)
    sys.stdout.write("\n" + page)
    if file is not None:
        file.write_text(json.dumps(_document(facts, figures)) + "\n")
    if paper is not None:
        paper.write_text(page)
    return worst


def _processor_time() -> float:
    """Seconds of all that this process started and that ended."""
    times = os.times()
    return times.children_user + times.children_system


def _document(facts: Mapping[str, Any], figures: Sequence[Measured]) -> dict[str, Any]:
    return {"machine": facts, "figures": [asdict(one) | {"verdict": one.verdict} for one in figures]}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
