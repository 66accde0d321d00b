"""`make vendors`: each fault in each place, and five hundred symbols at five calls a minute; with --document into docs/vendor-runs.md.

Exit code 1 if a price was wrong, something was not named, or anything took longer than it may.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from deploy.embedded import broker as embedded_broker
from services.ingest.providers.chain import Chain
from services.ingest.workflow import IngestWorker
from shared.clock import Clock
from shared.db.engine import create_engine
from shared.market.calendar import exchange_calendar
from shared.market.registry import PROXY_SYMBOLS, REFERENCE_ETFS
from tests.contract.providers.test_faults import FAILURES
from tests.store.ingest.conftest import LAST, Ingest, Market
from tests.support import databases, markdown, scratch
from tests.support.brokers import TestBroker
from tests.vendors import slow
from tests.vendors.chaos import ENTRY, SCOPES, SYMBOLS, VENDORS, Outcome, Trial

DOCUMENT = Path(__file__).parents[2] / "docs" / "vendor-runs.md"
HEAD = """# Vendors that are slow or fail

Written by the run that it reports: `{command}` on {date}, {cores} cores.
"""
SLOW = """
## {symbols} symbols at five calls a minute

All five services, a stand-in Massive under the default quota of its free plan, one portfolio of {symbols} equal lots, and a clock that
runs {speed:g} times as fast as ours. {calls} calls in {minutes:.0f} minutes. Nothing is published before four fifths of the value
are priced; then NAV and P&L are there, provisionally, state `healing`, of the holdings that have a price; each one that has none is
named, and no day is flat for want of prices. A session was computed {computed} times; {allowed} are allowed (the first, four an hour, the
last).

| minute | state | priced | coverage | provisional | NAV | P&L of the day |
|---:|---|---:|---:|---|---:|---:|
"""
CHAOS = """
## Each fault in each place

The ingest phase on one vendor alone, {symbols} symbols held. Each row is {faults} faults, one after the other (those of
`tests/contract/providers/test_faults.py`), in one place: on the prices of one symbol, on the profile path, on the whole vendor's
prices. Minutes are of the product's time, which is jumped over from one moment that somebody waits for to the next.

- *others*: the longest it took, while the fault lasted, until the {others} others were priced, as the market was;
- *healed*: the longest it took after the fault until all were, and complete. An unknown symbol (404) is asked for again after three days,
  whoever was refused (401, 403, 429) after an hour at most; the longest without 404 stands before it;
- *named*: of how many it was said, while it lasted, who waits for which vendor and why, or what is lacking.

| vendor | place | faults | others | healed | with 404 | named | problems |
|---|---|---:|---:|---:|---:|---:|---:|
"""


def _parser() -> argparse.ArgumentParser:
    found = argparse.ArgumentParser(prog="python -m tests.vendors")
    found.add_argument("what", nargs="*", choices=["slow", "chaos", []], help="one of the two runs; both if not said")
    found.add_argument("--symbols", type=int, default=500, help="of the slow run")
    found.add_argument("--speed", type=float, default=60.0, help="minutes of its clock a minute of ours")
    found.add_argument("--within", type=float, default=1800.0, help="seconds of ours that it may take")
    found.add_argument("--vendors", default=",".join(VENDORS))
    found.add_argument("--places", default=",".join(SCOPES))
    found.add_argument("--faults", default="", help="some only, by their names, separated by semicolons")
    found.add_argument("--document", action="store_true", help="write docs/vendor-runs.md")
    return found


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


async def _chaos(server: databases.Server, asked: argparse.Namespace) -> list[Outcome]:
    database = await databases.create(server)
    engine = create_engine(database.url("ingest"), application="chaos-ingest", pool_size=8)
    admin = create_engine(database.admin_url, application="chaos-admin", pool_size=4)
    market = Market()
    market.quote(*PROXY_SYMBOLS, *REFERENCE_ETFS)
    ingest = Ingest(IngestWorker(engine, Chain([market], exchange_calendar), Clock(LAST)), market, admin)
    found: list[Outcome] = []
    try:
        await ingest.run(await ingest.portfolio(("SPY", ENTRY)))
        faults = [name for name in asked.faults.split(";") if name] or list(FAILURES)
        for vendor in asked.vendors.split(","):
            for scope in asked.places.split(","):
                for fault in faults if scope != "profiles" or VENDORS[vendor].profiles else ():
                    outcome = await Trial(ingest, VENDORS[vendor], scope, fault, len(found)).run()
                    found.append(outcome)
                    _say(
                        f"{outcome.seconds:5.1f} s | {vendor} | {scope} | {fault} | others {outcome.others:.0f} min | healed"
                        f" {outcome.healed:.0f} min | {outcome.calls} calls | {outcome.named} | {'; '.join(outcome.problems) or 'well'}"
                    )
    finally:
        await engine.dispose()
        await admin.dispose()
    return found


async def _slow(server: databases.Server, state: Path, asked: argparse.Namespace) -> slow.Report:
    broker = embedded_broker.serve(state / "broker")
    try:
        database = await databases.create(server)
        bus = TestBroker(broker.bootstrap, "embedded", "the embedded broker", broker.stop)
        report = await slow.run(database, bus, symbols=asked.symbols, speed=asked.speed, within=asked.within)
    finally:
        broker.stop()
    _say(
        f"{report.symbols} symbols, {report.calls} calls, {report.minutes:.0f} minutes, computed {report.computed} times"
        f" ({report.allowed} allowed)\n{_published(report)}states: {report.states}\n{'; '.join(report.problems) or 'well'}"
    )
    return report


def _published(report: slow.Report) -> str:
    return "".join(
        f"| {at.minute:.0f} | {at.state} | {at.priced:.1%} | {at.coverage:.3f} | {'yes' if at.provisional else 'no'}"
        f" | {at.nav:,.2f} | {at.pnl:,.2f} |\n"
        for at in report.seen
    )


def _rows(outcomes: Sequence[Outcome]) -> str:
    lines = []
    for vendor in dict.fromkeys(outcome.vendor for outcome in outcomes):
        for scope in SCOPES:
            mine = [o for o in outcomes if (o.vendor, o.scope) == (vendor, scope)]
            if not mine:
                continue
            short = [o.healed for o in mine if o.fault != "404"]
            named = "–" if scope == "profiles" else sum(bool(o.named) for o in mine)
            others = "–" if scope == "vendor" else f"{max(o.others for o in mine):.0f} min"
            problems = sum(len(o.problems) for o in mine)
            lines.append(
                f"| {vendor} | {scope} | {len(mine)} | {others} | {max(short, default=0):.0f} min"
                f" | {max(o.healed for o in mine) / 1440:.1f} d | {named} | {problems} |\n"
            )
    return "".join(lines)


def main() -> None:
    asked = _parser().parse_args()
    what = asked.what or ["slow", "chaos"]
    state, began = scratch.create(), time.monotonic()
    server = databases.start(state)
    document = HEAD.format(
        command=" ".join(["python -m tests.vendors", *sys.argv[1:]]),
        date=f"{datetime.now(UTC):%Y-%m-%d}",
        cores=os.cpu_count(),
    )
    problems: list[str] = []
    try:
        databases.make_template(server)
        if "slow" in what:
            report = asyncio.run(_slow(server, state, asked))
            problems += report.problems
            document += SLOW.format(
                symbols=report.symbols, speed=report.speed, calls=report.calls, minutes=report.minutes,
                computed=report.computed, allowed=report.allowed,
            ) + _published(report)  # fmt: skip
        if "chaos" in what:
            outcomes = asyncio.run(_chaos(server, asked))
            problems += [f"{o.vendor} {o.scope} {o.fault}: {p}" for o in outcomes for p in o.problems]
            document += CHAOS.format(symbols=SYMBOLS, others=SYMBOLS - 1, faults=len(FAILURES)) + _rows(outcomes)
            _say(f"\n{_rows(outcomes)}")
    finally:
        server.stop()
        shutil.rmtree(state, ignore_errors=True)
    document += f"\n{(time.monotonic() - began) / 60:.0f} minutes.\n"
    if asked.document:
        DOCUMENT.write_text(markdown.wrap(document), encoding="utf-8")
    if problems:
        sys.exit("\n".join(problems))


if __name__ == "__main__":
    main()
