"""How a part of the benchmark is run as a process of its own."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence

COMMAND = ("-m", "tests.bench")


def run_part(command: Sequence[str]) -> int:
    """Its exit code. Whoever interrupts us waits until it has stopped the servers that it started."""
    process = subprocess.Popen(command)
    try:
        return process.wait()
    except KeyboardInterrupt:
        process.terminate()
        process.wait(60)
        raise
