"""Records as they lie in a partition, read even where a header's name is no UTF-8.

The client library decodes names strictly and before any of our code runs: one such record, which anybody who may write to a
topic can send, would hold up its partition for ever. Its own reader in Python is used instead of the one in C, with buffers that
replace what cannot be decoded; the message then fails its check like any other and is put aside. What else is wrong with a
record (its length, its checksum) stays an error. A few microseconds a record, of which there are some a second.
"""

from __future__ import annotations

from typing import Any

from aiokafka.consumer import fetcher
from aiokafka.record.default_records import _DefaultRecordBatchPy
from aiokafka.record.memory_records import _MemoryRecordsPy

_SINCE_VERSION_2 = 2


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

    def next_batch(self, *limits: int) -> Any:
        upcoming = self._next_slice
        batch = super().next_batch(*limits)
        if upcoming is not None and upcoming[self.MAGIC_OFFSET] >= _SINCE_VERSION_2:
            return _Batch(upcoming)
        return batch


def tolerate() -> None:
    """From now on consumers of this process read records so."""
    fetcher.MemoryRecords = TolerantRecords
