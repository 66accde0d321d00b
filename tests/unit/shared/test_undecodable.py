"""What stands in for a batch of records that cannot be decoded."""

from __future__ import annotations

import struct
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import CorruptRecordException
from aiokafka.record.default_records import _DefaultRecordBatchBuilderPy, _DefaultRecordBatchPy
from aiokafka.record.util import calc_crc32c

from shared.errors import UnreadableMessage
from shared.messaging.records import CHECKSUM_TRIES, TolerantPartition, TolerantRecords, UndecodableBatch
from shared.messaging.retry_middleware import parse_message

BASE = _DefaultRecordBatchPy
PARTITION = TopicPartition("leadline.date-due", 3)


def batch(*values: bytes, at: int, codec: int = 0, resealed: bool = True) -> bytes:
    """A batch of plain records from offset `at`, which says that it is compressed with `codec`."""
    builder = _DefaultRecordBatchBuilderPy(2, 0, 0, -1, -1, -1, 1_000_000)
    for offset, value in enumerate(values):
        builder.append(offset, 1_600_000_000_000, b"key", value, [])
    raw = bytearray(builder.build())
    struct.pack_into(">q", raw, 0, at)
    raw[BASE.ATTRIBUTES_OFFSET + 1] |= codec
    if resealed:
        struct.pack_into(">I", raw, BASE.CRC_OFFSET, calc_crc32c(bytes(raw[BASE.ATTRIBUTES_OFFSET :])))
    return bytes(raw)


def partition(data: bytes, offset: int) -> Any:
    return TolerantPartition(PARTITION, TolerantRecords(data), [], offset, None, None, True, 0)


@pytest.mark.parametrize("codec", [5, 6, 7, BASE.CODEC_GZIP, BASE.CODEC_SNAPPY, BASE.CODEC_LZ4, BASE.CODEC_ZSTD])
def test_a_batch_of_an_unknown_codec_or_of_no_compressed_bytes_is_one_record_at_its_last_offset(codec: int) -> None:
    good, bad = batch(b"a", b"b", at=10), batch(b"c", b"d", b"e", at=12, codec=codec)
    read_ones = partition(good + bad + batch(b"f", at=15), 10)
    first, second, third = list(read_ones)
    assert [(first.offset, first.value), (second.offset, second.value)] == [(10, b"a"), (11, b"b")]
    assert (third.topic, third.partition, third.offset) == ("leadline.date-due", 3, 14)
    assert isinstance(third.value, UndecodableBatch)
    assert third.value == bad
    assert third.value.reason.startswith("leadline.date-due, partition 3, offsets 12 to 14: ")
    assert read_ones.next_fetch_offset == 15, "what is behind it is fetched next"
    assert [record.value for record in partition(batch(b"f", at=15), 15)] == [b"f"]


def test_of_a_batch_that_is_sound_up_to_a_record_the_rest_is_what_cannot_be_decoded() -> None:
    raw = bytearray(batch(b"first", b"second", b"third", at=20))
    place = raw.index(b"second") - 1
    raw[place] = 0x7F  # its length, beyond the record's end
    struct.pack_into(">I", raw, BASE.CRC_OFFSET, calc_crc32c(bytes(raw[BASE.ATTRIBUTES_OFFSET :])))
    first, rest = list(partition(bytes(raw), 20))
    assert (first.offset, first.value) == (20, b"first")
    assert rest.offset == 22
    assert "offsets 21 to 22" in rest.value.reason


def test_a_wrong_checksum_is_read_again_and_then_passed_step_by_step() -> None:
    """Its number of records may be as wrong as the rest."""
    bad = batch(b"c", b"d", at=30, codec=1, resealed=False)
    for _ in range(CHECKSUM_TRIES - 1):
        with pytest.raises(CorruptRecordException):
            list(partition(bad, 30))
    read_ones = partition(bad, 30)
    [record] = list(read_ones)
    assert (record.offset, read_ones.next_fetch_offset) == (30, 31)
    for _ in range(CHECKSUM_TRIES - 1):
        with pytest.raises(CorruptRecordException):
            list(partition(bad, 31))
    read_ones = partition(bad, 31)
    [record] = list(read_ones)
    assert (record.offset, read_ones.next_fetch_offset) == (31, 32)


def test_the_guard_says_what_it_is_whatever_the_headers_claim() -> None:
    with pytest.raises(UnreadableMessage, match="offsets 1 to 2") as raised:
        parse_message(
            {"ce_type": "leadline.DateDue.v1"}, UndecodableBatch.of(b"{}", "t, partition 0, offsets 1 to 2: broken")
        )
    assert raised.value.code == "undecodable_batch"
