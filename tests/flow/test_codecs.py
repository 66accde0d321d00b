"""Compressed records are read whatever the codec, and batches that nobody can decode hold up no partition."""

from __future__ import annotations

import contextlib
import struct
from collections.abc import AsyncIterator
from dataclasses import replace
from uuid import UUID

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.record.default_records import _DefaultRecordBatchPy
from aiokafka.record.util import calc_crc32c
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from shared.messaging import dead_letters, records
from shared.settings import ServiceSettings
from tests.flow import toy
from tests.flow.toy import Wire, Worker
from tests.support.brokers import TestBroker

pytestmark = pytest.mark.kafka

CODECS = ("gzip", "snappy", "lz4", "zstd")
# Long enough that compressing is worth it: the client sends what does not shrink as it is.
PADDING = " " * 2_000


async def written(admin: AsyncEngine) -> set[UUID]:
    async with admin.connect() as conn:
        return set((await conn.execute(text("SELECT portfolio_id FROM ingest.toy"))).scalars())


async def letters(admin: AsyncEngine) -> list[dead_letters.DeadLetter]:
    async with admin.connect() as conn:
        return sorted(await dead_letters.page(conn, limit=500), key=lambda letter: letter.offset)


@contextlib.asynccontextmanager
async def sender(wire: Wire, codec: str | None) -> AsyncIterator[Wire]:
    """The topic seen by a producer that compresses."""
    made = AIOKafkaProducer(bootstrap_servers=wire.settings.kafka, compression_type=codec)
    await made.start()
    try:
        yield replace(wire, producer=made)
    finally:
        await made.stop()


@pytest.mark.parametrize("codec", CODECS)
async def test_records_of_every_codec_are_read(
    admin: AsyncEngine, settings: ServiceSettings, wire: Wire, codec: str
) -> None:
    portfolios = await toy.prepare(admin, 3)
    async with sender(wire, codec) as compressing:
        for portfolio in portfolios:
            await compressing.announce(portfolio, headers={"padding": PADDING.encode()})
    async with toy.running(settings, Worker()) as service:
        await wire.drained()
        assert service.problems() == []
    assert await written(admin) == set(portfolios)
    assert await letters(admin) == []


@pytest.mark.parametrize("codec", CODECS)
async def test_records_that_the_broker_compresses_are_read(
    admin: AsyncEngine, settings: ServiceSettings, wire: Wire, apache_kafka: TestBroker, codec: str
) -> None:
    """An administrator's `compression.type` on the topic: nobody asked the producers."""
    portfolios = await toy.prepare(admin, 2)
    client = AIOKafkaAdminClient(bootstrap_servers=apache_kafka.bootstrap)
    await client.start()
    try:
        await client.alter_configs(
            [ConfigResource(ConfigResourceType.TOPIC, wire.topic, configs={"compression.type": codec})]
        )
    finally:
        await client.close()
    async with sender(wire, None) as plain:
        for portfolio in portfolios:
            await plain.announce(portfolio, headers={"padding": PADDING.encode()})
    async with toy.running(settings, Worker()) as service:
        await wire.drained()
        assert service.problems() == []
    assert await written(admin) == set(portfolios)


MARK = b"damaged"


def damaged(data: bytes, how: str) -> bytes:
    """What a broker with a damaged disk, or one of a later protocol, sends: brokers refuse to take such batches from a client."""
    found, at = bytearray(data), 0
    base = _DefaultRecordBatchPy
    while at + base.HEADER_STRUCT.size <= len(found):
        end = at + base.AFTER_LEN_OFFSET + int.from_bytes(found[at + 8 : at + 12])
        if MARK in found[at:end] and how == "checksum":
            found[end - 1] ^= 0xFF
        elif MARK in found[at:end]:
            found[at + base.ATTRIBUTES_OFFSET + 1] |= {"codec": 7, "content": base.CODEC_LZ4}[how]
            checksum = calc_crc32c(bytes(found[at + base.ATTRIBUTES_OFFSET : end]))
            struct.pack_into(">I", found, at + base.CRC_OFFSET, checksum)
        at = end
    return bytes(found)


@pytest.mark.parametrize("how", ["codec", "content", pytest.param("checksum", marks=pytest.mark.long)])
async def test_a_batch_that_cannot_be_decoded_is_set_aside_and_passed(
    admin: AsyncEngine, settings: ServiceSettings, wire: Wire, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    class Damaged(records.TolerantRecords):
        def __init__(self, data: bytes) -> None:
            super().__init__(damaged(data, how))

    monkeypatch.setattr(records, "TolerantRecords", Damaged)
    first, second, third = await toy.prepare(admin, 3)
    async with sender(wire, None) as plain:
        await plain.announce(first)
        bad = [await plain.send(MARK, []) for _ in range(2)]
        await plain.announce(second)
        async with toy.running(settings, Worker()) as service:
            await wire.drained(60)
            await plain.announce(third)
            await wire.drained()
            assert service.problems() == []
            assert service.guard.limit.tripped is None
    assert await written(admin) == {first, second, third}
    found = await letters(admin)
    assert [(letter.offset, letter.reason) for letter in found] == [(offset, "undecodable_batch") for offset in bad]
    for letter in found:
        assert f"{wire.topic}, partition 0, offsets {letter.offset} to {letter.offset}" in letter.error
        assert len(letter.body or b"") > len(MARK), "the batch is kept whole"
