"""Records as they lie in a partition, read even where they cannot be: nothing in a partition may hold up what comes after it.

The client library decodes before any of our code runs, and raises at what it cannot decode, at the same offset again and again:
one such record, which anybody who may write to a topic can send, would hold up its partition for ever.

- A header's name that is no UTF-8: the library's own reader in Python is used instead of the one in C, with buffers that replace
  what cannot be decoded. The message then fails its check like any other and is put aside. A few microseconds a record, of which
  there are some a second.
- A batch that cannot be decoded at all (a codec nobody knows, compressed bytes that are none, records of impossible lengths, a
  checksum that stays wrong): one record stands in for it, at the batch's last offset, with the bytes of the whole batch as its
  value. It takes the way of any other message, so the guard puts it aside, and its offset is committed.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from typing import Any

from aiokafka import ConsumerRecord, TopicPartition
from aiokafka.consumer import fetcher
from aiokafka.errors import CorruptRecordException
from aiokafka.record.default_records import _DefaultRecordBatchPy
from aiokafka.record.memory_records import _MemoryRecordsPy

log = logging.getLogger(__name__)

_SINCE_VERSION_2 = 2
# A checksum may be wrong because of what happened on the way; read again, the batch is in order. The framework waits five seconds
# before each time.
CHECKSUM_TRIES = 3


class UndecodableBatch(bytes):
    """The bytes of a batch that nobody can decode, as a record's value. `reason` says where it lies and what is wrong with it.

    A type rather than a header: headers are what anybody can send.
    """

    reason: str

    @classmethod
    def of(cls, raw: bytes, reason: str) -> UndecodableBatch:
        batch = cls(raw)
        batch.reason = reason
        return batch


class _Lenient(bytearray):
    """Bytes whose slices decode whatever they are."""

    def __getitem__(self, place: Any) -> Any:
        found = super().__getitem__(place)
        return _Lenient(found) if isinstance(place, slice) else found

    def decode(self, encoding: str = "utf-8", errors: str = "replace") -> str:
        return super().decode(encoding, errors)


class _Batch(_DefaultRecordBatchPy):  # type: ignore[misc]  # final, for its own sake only
    def _maybe_uncompress(self) -> None:
        super()._maybe_uncompress()
        self._buffer: bytearray = _Lenient(self._buffer)


class TolerantRecords(_MemoryRecordsPy):  # type: ignore[misc]
    """The batches of a fetched partition. Those older than the format that knows headers are the library's own."""

    current: memoryview | None = None
    """The bytes of the batch that was asked for last."""

    def next_batch(self, *limits: int) -> Any:
        upcoming = self.current = self._next_slice
        batch = super().next_batch(*limits)
        if upcoming is not None and upcoming[self.MAGIC_OFFSET] >= _SINCE_VERSION_2:
            return _Batch(upcoming)
        return batch


class TolerantPartition(fetcher.PartitionRecords):  # type: ignore[misc]
    """The records of a fetched partition; what cannot be decoded is one record that says so."""

    next_fetch_offset: int
    _failed_checksums: dict[tuple[TopicPartition, int], int] = {}  # noqa: RUF012 (what was read again is a new object)

    def _unpack_records(self) -> Iterator[Any]:
        try:
            yield from super()._unpack_records()
        except Exception as error:  # noqa: BLE001 (no error is to hold up the partition)
            # Whatever a decoder raises: each has errors of its own, and those that are not the client's would end the consumer.
            yield self._stand_in(error)

    def _stand_in(self, error: Exception) -> ConsumerRecord[bytes, bytes]:
        """One record for the rest of the batch that failed, and the position behind it. Raises a checksum's error again, as long
        as reading again may mend it. The batches behind it are fetched anew."""
        tp, first = self._tp, self.next_fetch_offset
        raw = bytes(self._records.current or b"")
        intact = self._has_valid_checksum(raw)
        if not intact and isinstance(error, CorruptRecordException):
            tries = self._failed_checksums.get((tp, first), 0) + 1
            if tries < CHECKSUM_TRIES:
                self._failed_checksums[tp, first] = tries
                raise error
            self._failed_checksums.pop((tp, first), None)
        # Where the checksum is wrong, so may be the number of records: then the way through the batch is step by step.
        last = max(first, _DefaultRecordBatchPy(raw).next_offset - 1) if intact else first
        self.next_fetch_offset = last + 1
        reason = (
            f"{tp.topic}, partition {tp.partition}, offsets {first} to {last}: the batch cannot be decoded "
            f"({type(error).__name__}: {str(error)[:300]})"
        )
        log.error("undecodable batch: %s", reason)
        return ConsumerRecord(
            topic=tp.topic,
            partition=tp.partition,
            offset=last,
            timestamp=int(time.time() * 1000),
            timestamp_type=0,
            key=None,
            value=UndecodableBatch.of(raw, reason),
            checksum=None,
            serialized_key_size=-1,
            serialized_value_size=len(raw),
            headers=(),
        )

    @staticmethod
    def _has_valid_checksum(raw: bytes) -> bool:
        """Whether the header of a batch can be believed. Batches of the old formats have no such header."""
        if len(raw) < _DefaultRecordBatchPy.HEADER_STRUCT.size or raw[TolerantRecords.MAGIC_OFFSET] < _SINCE_VERSION_2:
            return False
        return bool(_DefaultRecordBatchPy(raw).validate_crc())


def install_lenient_decoder() -> None:
    """From now on consumers of this process read records so."""
    fetcher.MemoryRecords = TolerantRecords
    fetcher.PartitionRecords = TolerantPartition
