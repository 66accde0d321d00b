"""A PostgreSQL of a benchmark's own."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support import databases


@contextmanager
def postgres() -> Iterator[databases.Server]:
    """Started with a migrated template; stopped and removed on the way out."""
    with tempfile.TemporaryDirectory(prefix="leadline-bench-") as directory:
        folder = Path(directory)
        # PostgreSQL runs as another user where this one is root.
        folder.chmod(0o755)
        server = databases.start(folder)
        try:
            databases.make_template(server)
            yield server
        finally:
            server.stop()
