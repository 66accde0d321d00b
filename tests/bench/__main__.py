"""`make bench`: every benchmark one after the other, or those named: `make bench ARGS=risk`."""

from __future__ import annotations

import subprocess
import sys

# Each in a process of its own: what one leaves in memory would be measured in the next.
BENCHMARKS = ("risk", "pipeline")


def main(asked: list[str]) -> int:
    unknown = sorted(set(asked) - set(BENCHMARKS))
    if unknown:
        sys.stderr.write(f"no benchmark {unknown[0]!r}; there are {', '.join(BENCHMARKS)}\n")
        return 2
    chosen = [name for name in BENCHMARKS if not asked or name in asked]
    failed = [
        name for name in chosen if subprocess.run([sys.executable, "-m", f"tests.bench.{name}"], check=False).returncode
    ]
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
