"""What others read of the benchmarks: the arguments, the document, and that the yardstick is what it says."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import asyncpg
import pytest

from tests.bench import __main__ as bench
from tests.bench import memory, yardstick
from tests.support.databases import Database

ROOT = Path(__file__).parents[2]
# A part of each run: rows have the same size in the whole.
NIGHT = yardstick.night(40)
ONBOARDING = yardstick.Shape(1, 20, 13, {table: size // 25 for table, size in yardstick.ONBOARDING.size.items()})


@pytest.mark.parametrize(
    "arguments",
    [
        ("nights",),
        ("night", "--portfolio-count", "3"),
        ("night", "--portfolios", "0"),
        ("night", "--portfolios", "many"),
        ("onboarding", "--portfolios", "3"),
        ("night", "1000"),
    ],
)
def test_arguments_that_are_none_are_answered_with_the_usage(
    arguments: Sequence[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        bench.main(arguments)
    assert ended.value.code == 2
    assert "usage: python -m tests.bench" in capsys.readouterr().err


def test_a_file_that_cannot_be_written_is_told_before_anything_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert bench.main(["night", "--json", str(tmp_path / "missing" / "night.json")]) == 2
    assert str(tmp_path / "missing") in capsys.readouterr().err


def test_the_yardstick_has_the_rows_of_the_runs() -> None:
    night, onboarding = yardstick.night(1000), yardstick.ONBOARDING
    assert {table: night.rows(table) for table in night.size} == {
        "results": 1000, "holdings": 1000, "units": 4000, "snapshots": 1000,
    }  # fmt: skip
    assert {table: onboarding.rows(table) for table in onboarding.size} == {
        "results": 500, "exposures": 6500, "metrics": 6500, "holdings": 500, "units": 2000, "snapshots": 500,
    }  # fmt: skip
    assert sum(night.size.values()) == 53_300_000


@pytest.mark.parametrize("shape", [NIGHT, ONBOARDING], ids=["night", "onboarding"])
async def test_the_yardstick_copies_the_bytes_of_the_runs(database: Database, shape: yardstick.Shape) -> None:
    conn = await asyncpg.connect(database.admin_url)
    try:
        await conn.execute(yardstick.SCHEMA.read_text())
        content = await yardstick.payloads(conn, shape)
        await conn.execute("DROP SCHEMA yardstick CASCADE")
    finally:
        await conn.close()
    assert content.keys() == shape.size.keys() - {"units"}
    for table, payload in content.items():
        assert len(payload) == pytest.approx(shape.size[table], rel=0.01), table
    assert len(await yardstick.measure(database.admin_url, shape, repetitions=2)) == 2


def test_memory_is_that_of_the_process_and_all_it_started() -> None:
    alone = memory.proportional_set_size(os.getpid())
    if not Path("/proc/self/smaps_rollup").exists():
        assert alone is None
        return
    assert alone is not None
    child = subprocess.Popen(
        [sys.executable, "-c", "kept = b'x' * 50_000_000; print(flush=True); input()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        assert child.stdout is not None
        child.stdout.readline()
        both = memory.total([os.getpid()])
        assert both is not None
        assert both > alone + 40_000_000
    finally:
        child.kill()
        child.communicate()


def test_the_peak_is_found_though_it_has_passed() -> None:
    if memory.total([os.getpid()]) is None:
        pytest.skip("this system does not tell proportional set sizes")
    with memory.Peak(os.getpid()) as peak:
        before = memory.total([os.getpid()]) or 0
        time.sleep(2 * memory.LEAST_PAUSE)
        kept = b"x" * 200_000_000
        time.sleep(10 * memory.LEAST_PAUSE)
        del kept
    assert peak.megabytes is not None
    assert peak.megabytes * 1e6 > before + 190_000_000


@pytest.mark.long
@pytest.mark.timeout(300)
def test_a_night_writes_the_document(scratch_directory: Path) -> None:
    file = scratch_directory / "night.json"
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench", "night", "--portfolios", "2", "--json", str(file)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=280,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(file.read_text())
    assert found.keys() == {"portfolios", "seconds", "yardstick_seconds", "ratio", "peak_rss_mb"}
    assert found["portfolios"] == 2
    assert found["ratio"] == pytest.approx(found["seconds"] / found["yardstick_seconds"], rel=0.05)
    assert found["peak_rss_mb"] is None or found["peak_rss_mb"] > 100
