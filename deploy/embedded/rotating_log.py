"""The embedded run's log file: readable by its owner only, and bounded while it runs, not only at a start."""

from __future__ import annotations

import io
import os
import threading
from pathlib import Path
from typing import TextIO


class RotatingLog(io.TextIOBase):
    """A text stream into `path`; over `limit` bytes what is there moves to `path` + `.1`, over an older one.

    limit : bytes; the two files together hold at most twice as many, and a line
    """

    def __init__(self, path: Path, limit: int) -> None:
        self._path = path
        self._limit = limit
        self._lock = threading.Lock()
        self._file = self._open()

    @property
    def name(self) -> str:
        return str(self._path)

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        with self._lock:
            self._file.write(text)
            if text.endswith("\n") and self._file.tell() > self._limit:
                self._file.close()
                self._path.replace(self._path.with_name(f"{self._path.name}.1"))
                self._file = self._open()
        return len(text)

    def flush(self) -> None:
        with self._lock:
            if not self._file.closed:
                self._file.flush()

    def close(self) -> None:
        with self._lock:
            self._file.close()
        super().close()

    def _open(self) -> TextIO:
        descriptor = os.open(self._path, os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o600)
        # One that an earlier version left readable for everybody.
        os.fchmod(descriptor, 0o600)
        return os.fdopen(descriptor, "a", buffering=1, encoding="utf-8", errors="backslashreplace")
