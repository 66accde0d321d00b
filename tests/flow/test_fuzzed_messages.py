"""Thousands of messages that nobody should ever send, among good ones: a real broker, a real database, the real consumer path.

Everything is put aside exactly once, tombstones and oversized ones too; the only ones that may be either handled or put aside are
good messages with a few bytes changed, and what must not happen to them is neither or both. Seeded: `LEADLINE_FUZZ_SEED`;
`make long` sends ten thousand.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import statistics
import string
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from shared.events.envelope import WorkEvent
from shared.messaging import outbox
from shared.messaging.breaker import WINDOW
from shared.messaging.retry_middleware import MAX_BODY_BYTES
from shared.phase.runner import PhaseRunner
from shared.settings import ServiceSettings
from tests.flow import toy
from tests.flow.toy import Wire, Worker
from tests.support.ledger import SESSIONS

pytestmark = [pytest.mark.kafka, pytest.mark.slow, pytest.mark.timeout(400)]

SEED = int(os.environ.get("LEADLINE_FUZZ_SEED", "20201231"))
# Sent together: one good message somewhere among so many others.
BURST = 20
# Bursts under way at a time: what waits longer than these explain was held up by somebody.
AHEAD = 2

Header = tuple[str, bytes]
Message = tuple[bytes | None, list[Header]]
GOOD = b"leadline.DateDue.v1"
DAY = str(SESSIONS[0])


def work(portfolio: UUID, **more: object) -> bytes:
    return json.dumps({"work": {"portfolios": [str(portfolio)], "from": DAY, "to": DAY, **more}}).encode()


def stranger() -> bytes:
    """A good message about a portfolio that nobody has: read, looked for, acknowledged."""
    return work(uuid4())


def random_bytes(rng: random.Random) -> Message:
    return rng.randbytes(rng.randint(1, 300)), [("ce_type", GOOD)]


def truncated(rng: random.Random) -> Message:
    body = stranger()
    return body[: rng.randint(1, len(body) - 1)], [("ce_type", GOOD)]


def deep(rng: random.Random) -> Message:
    depth = rng.randint(2_000, 30_000)
    opening, closing = rng.choice([(b'{"a":', b"}"), (b"[", b"]")])
    return opening * depth + rng.choice([b"", b"1" + closing * depth]), [("ce_type", GOOD)]


def not_a_number(rng: random.Random) -> Message:
    word = rng.choice([b"NaN", b"Infinity", b"-Infinity"])
    return stranger()[:-1] + b', "weight": [1, ' + word + b"]}", [("ce_type", GOOD)]


def endless_number(rng: random.Random) -> Message:
    return b'{"work": ' + b"9" * rng.randint(4_400, 9_000) + b"}", [("ce_type", GOOD)]


def not_an_object(rng: random.Random) -> Message:
    return rng.choice([b"[1, 2]", b'"work"', b"17", b"null", b"true", b"[]", b"1e400", b"-0.0"]), [("ce_type", GOOD)]


def wrong_types(rng: random.Random) -> Message:
    nonsense: list[object] = [None, True, "everything", [], {}, [[]], "\x00", "\ud800", "2024-02-30", 1e300]
    document = json.loads(stranger())
    where = rng.choice(["work", "portfolios", "from", "to", "a portfolio"])
    if where == "work":
        document["work"] = rng.choice(nonsense)
    elif where == "a portfolio":
        document["work"]["portfolios"] = [rng.choice(nonsense)]
    else:
        document["work"][where] = rng.choice(nonsense)
    return json.dumps(document).encode(), [("ce_type", GOOD)]


def left_out(rng: random.Random) -> Message:
    document = json.loads(stranger())
    del document["work"][rng.choice(["portfolios", "from", "to"])]
    return json.dumps(rng.choice([document, {}, {"Work": document["work"]}])).encode(), [("ce_type", GOOD)]


def binary_type(rng: random.Random) -> Message:
    return stranger(), [("ce_type", b"\xff" + rng.randbytes(rng.randint(0, 20)))]


def no_type(rng: random.Random) -> Message:
    return rng.choice([stranger(), b"", rng.randbytes(50)]), []


def unknown_type(rng: random.Random) -> Message:
    name = "".join(rng.choices(string.ascii_letters + "._-'\\\"{}%", k=rng.randint(0, 40)))
    return stranger(), [("ce_type", rng.choice([name, f"leadline.{name}.v1", f"leadline.DateDue.{name}"]).encode())]


def unknown_version(rng: random.Random) -> Message:
    return rng.choice([stranger(), b"\x00"]), [
        ("ce_type", b"leadline.DateDue.v%d" % rng.choice([0, 2, 3, 99, 123_456]))
    ]


def tombstone(rng: random.Random) -> Message:
    return rng.choice([None, b""]), [("ce_type", GOOD)]


def oversized(rng: random.Random) -> Message:
    return b'{"a": "' + b"x" * (MAX_BODY_BYTES + rng.randint(1, 200)) + b'"}', [("ce_type", GOOD)]


def changed(rng: random.Random) -> Message:
    body = bytearray(stranger())
    for _ in range(rng.randint(1, 3)):
        body[rng.randrange(len(body))] = rng.randrange(256)
    return bytes(body), [("ce_type", GOOD)]


Make = Callable[[random.Random], Message]
# How it is made, how often (in 1,000), and with which reason it is put aside; None if it may as well be handled.
KINDS: Sequence[tuple[Make, int, frozenset[str] | None]] = [
    (random_bytes, 120, frozenset({"not_json", "not_an_object"})),
    (truncated, 120, frozenset({"not_json"})),
    (deep, 60, frozenset({"not_json"})),
    (not_a_number, 60, frozenset({"not_json"})),
    (endless_number, 30, frozenset({"not_json"})),
    (not_an_object, 60, frozenset({"not_an_object"})),
    (wrong_types, 160, frozenset({"invalid_body"})),
    (left_out, 60, frozenset({"invalid_body"})),
    (binary_type, 60, frozenset({"unknown_type"})),
    (no_type, 40, frozenset({"no_type"})),
    (unknown_type, 60, frozenset({"unknown_type"})),
    (unknown_version, 50, frozenset({"unknown_version"})),
    (tombstone, 60, frozenset({"empty_body"})),
    (oversized, 1, frozenset({"oversized"})),
    (changed, 59, None),
]


def noise(rng: random.Random) -> list[Header]:
    """Headers that mean something to the framework or to us, with anything in them; the envelope's own are not among them."""
    names = ["content-type", "correlation_id", "traceparent", "reply_to", "note", "ce_time", "ce_subject", "\x00"]
    return [(name, rng.randbytes(rng.randint(0, 30))) for name in rng.sample(names, rng.randint(0, 3))]


def fuzz(rng: random.Random, count: int) -> list[tuple[Message, frozenset[str] | None, str]]:
    kinds = rng.choices(KINDS, weights=[weight for _, weight, _ in KINDS], k=count)
    made = []
    for make, _, reasons in kinds:
        body, headers = make(rng)
        made.append(((body, headers + noise(rng)), reasons, make.__name__))
    return made


@dataclass
class Stream:
    """Sends bursts with a good message in each, and notes when that one was handled."""

    wire: Wire
    rng: random.Random
    handled: Counter[str] = field(default_factory=Counter)
    sent: dict[str, float] = field(default_factory=dict)
    delays: dict[str, float] = field(default_factory=dict)
    offsets: dict[int, str] = field(default_factory=dict)
    arrived: dict[str, asyncio.Event] = field(default_factory=dict)

    async def on_event(self, event: WorkEvent, runner: PhaseRunner) -> None:
        await toy.run_event(event, runner)
        name = str(outbox.causation.get())
        self.handled[name] += 1
        if name in self.sent:
            self.delays.setdefault(name, time.monotonic() - self.sent[name])
            self.arrived[name].set()

    async def send(self, messages: Sequence[tuple[str, Message]], portfolios: Sequence[UUID]) -> None:
        """All messages, and one good one about each portfolio, spread evenly; no more under way than a few bursts."""
        bursts = [messages[top : top + BURST] for top in range(0, len(messages), BURST)]
        assert len(bursts) == len(portfolios)
        under_way: list[str] = []
        for burst, portfolio in zip(bursts, portfolios, strict=True):
            name = f"good-{portfolio}"
            mixed = [*burst, (name, (work(portfolio), [("ce_type", GOOD)]))]
            self.rng.shuffle(mixed)
            self.arrived[name] = asyncio.Event()
            self.sent[name] = time.monotonic()
            results = []
            for id_, (body, headers) in mixed:
                # The protocol has no message with neither key nor value.
                key = self.rng.choice([b"" if body is None else None, b"", self.rng.randbytes(8)])
                every = [*headers, ("ce_id", id_.encode())]
                results.append(
                    await self.wire.producer.send(self.wire.topic, body, key=key, headers=every, partition=0)
                )
            for (id_, _), result in zip(mixed, await asyncio.gather(*results), strict=True):
                self.offsets[result.offset] = id_
            under_way.append(name)
            if len(under_way) > AHEAD:
                await asyncio.wait_for(self.arrived[under_way.pop(0)].wait(), 180)
        for name in under_way:
            await asyncio.wait_for(self.arrived[name].wait(), 180)


def p99(delays: Sequence[float]) -> float:
    return statistics.quantiles(delays, n=100)[98]


@pytest.mark.parametrize("many", [2_000, pytest.param(10_000, marks=pytest.mark.long)])
async def test_bad_messages_are_each_put_aside_once_and_hold_up_nobody(
    admin: AsyncEngine, settings: ServiceSettings, wire: Wire, many: int
) -> None:
    rng = random.Random(SEED)
    fuzzed = fuzz(rng, many)
    # What a good one waits among messages that are all in order; a fifth of them is enough for that.
    calm = many // 5
    portfolios = await toy.prepare(admin, (many + calm) // BURST, sessions=1)
    stream = Stream(wire, rng)
    names = {f"fuzz-{number}": (reasons, kind) for number, (_, reasons, kind) in enumerate(fuzzed)}

    async with toy.running(settings, Worker(), stream.on_event) as service:
        harmless = [(f"calm-{number}", (stranger(), [("ce_type", GOOD)])) for number in range(calm)]
        await stream.send(harmless, portfolios[: calm // BURST])
        before = [*stream.delays.values()]
        stream.delays.clear()
        began = time.monotonic()
        messages = [(name, message) for name, (message, _, _) in zip(names, fuzzed, strict=True)]
        await stream.send(messages, portfolios[calm // BURST :])
        end = max(stream.offsets) + 1
        async with asyncio.timeout(180):
            while (await wire.position())[0] != end:  # noqa: ASYNC110 (the broker knows)
                await asyncio.sleep(0.2)
        seconds = time.monotonic() - began
        assert service.problems() == [], "the consumer lives"
        # The limit looks at what we cannot handle, not at what is garbage: a new major version now and then is far below it.
        assert service.guard.limit.tripped is None

    assert end == many + calm + len(portfolios) == len(stream.offsets)
    async with admin.connect() as conn:
        rows = (await conn.execute(text('SELECT "offset", reason FROM bus.dead_letters'))).all()
        left = await conn.scalar(
            text("SELECT count(*) FROM ledger.units WHERE phase = 'ingest' AND completed_revision < required_revision")
        )
    aside = Counter(stream.offsets[offset] for offset, _ in rows)
    why = {stream.offsets[offset]: reason for offset, reason in rows}
    both_or_neither = [
        (name, kind, aside[name], stream.handled[name])
        for name, (_, kind) in names.items()
        if aside[name] + stream.handled[name] != 1
    ]
    assert both_or_neither == [], "each is put aside or handled, exactly once"
    wrong = [
        (name, kind, why.get(name))
        for name, (reasons, kind) in names.items()
        if reasons is not None and why.get(name) not in reasons
    ]
    assert wrong == []
    assert set(why) <= set(names), "nothing good was put aside"
    assert left == 0
    assert len(stream.delays) == many // BURST
    after = [*stream.delays.values()]
    print(  # noqa: T201 (shown with -s)
        f"{many} in {seconds:.0f} s; put aside {len(rows)}: {dict(Counter(why.values()).most_common())};"
        f" good ones' p99 {p99(after):.2f} s, among good ones {p99(before):.2f} s"
    )
    assert p99(after) < 5 * p99(before) + 0.25, "good ones beside them are not delayed"


async def test_nothing_but_new_major_versions_of_others_stops_nothing(
    admin: AsyncEngine, settings: ServiceSettings, wire: Wire
) -> None:
    """Anybody can send them; only what our own outbox sent says something about this release."""
    [portfolio] = await toy.prepare(admin, 1, sessions=1)
    rng = random.Random(SEED)
    for _ in range(WINDOW + 20):
        body, headers = unknown_version(rng)
        await wire.send(body, headers)
    await wire.announce(portfolio, sessions=1)
    async with toy.running(settings, Worker()) as service:
        await wire.drained()
        assert service.guard.limit.tripped is None
    async with admin.connect() as conn:
        assert await conn.scalar(text("SELECT count(*) FROM bus.dead_letters")) == WINDOW + 20
        assert await conn.scalar(text("SELECT count(*) FROM ingest.toy")) == 1
