"""What begins while everything starts, said in lines."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from typing import TextIO


def progress(stream: TextIO) -> Callable[[str], None]:
    """Says a line with the seconds since now. The stream is held: standard error is the log while services start."""
    began = time.monotonic()

    def say(words: str) -> None:
        # Whoever started us may have closed it; that is no reason to end.
        with contextlib.suppress(OSError, ValueError):
            print(f"{time.monotonic() - began:5.1f} s  {words}", file=stream, flush=True)

    return say
