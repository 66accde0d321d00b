"""A real Prometheus, where there is one on PATH."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from deploy.embedded.process import Child, free_port, start


def require() -> None:
    """Skip the test, and say so, where there is none."""
    if shutil.which("prometheus") is None:
        pytest.skip("`prometheus` is not on PATH")


@contextlib.contextmanager
def serve(state: Path) -> Iterator[tuple[Child, httpx2.Client]]:
    """Run it by `prometheus.yml` of the directory; the process, and a client of it that need not be answered yet."""
    port = free_port()
    child = start(
        "Prometheus",
        ["prometheus", f"--config.file={state}/prometheus.yml", f"--storage.tsdb.path={state}/data",
         f"--web.listen-address=127.0.0.1:{port}"],
        pid_file=state / "pid", log=state / "log",
    )  # fmt: skip
    try:
        with httpx2.Client(base_url=f"http://127.0.0.1:{port}", timeout=10) as client:
            yield child, client
    finally:
        child.stop()
