"""What a process of the embedded run keeps of memory: freed by its threads, loaded for nothing, copied where it could be shared."""

from __future__ import annotations

import gc
import os
import platform
import subprocess
import sys
from datetime import date
from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from deploy.embedded import beside, computing

ARENAS = """
import ctypes, os, tempfile, threading
{first}
ready = threading.Barrier(8)
def work():
    kept = [bytearray(1000) for _ in range(1000)]
    ready.wait()
threads = [threading.Thread(target=work) for _ in range(8)]
for thread in threads: thread.start()
for thread in threads: thread.join()
libc = ctypes.CDLL(None)
libc.fopen.restype = ctypes.c_void_p
libc.malloc_info.argtypes = [ctypes.c_int, ctypes.c_void_p]
libc.fclose.argtypes = [ctypes.c_void_p]
with tempfile.NamedTemporaryFile() as file:
    stream = libc.fopen(file.name.encode(), b"w")
    libc.malloc_info(0, stream)
    libc.fclose(stream)
    print(file.read().decode().count("<heap nr="))
"""


def arenas(first: str, **environment: str) -> int:
    clean = {name: value for name, value in os.environ.items() if name != "MALLOC_ARENA_MAX"} | environment
    command = [sys.executable, "-c", ARENAS.format(first=first)]
    return int(subprocess.run(command, env=clean, capture_output=True, text=True, check=True).stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="arenas are glibc's")
def test_threads_share_two_arenas_unless_the_user_says_how_many() -> None:
    assert arenas("import deploy") <= 2 < arenas("pass")
    assert arenas("import deploy", MALLOC_ARENA_MAX="5") == 5


WITHOUT_PANDAS = """
import sys
from pathlib import Path
from services.ingest.providers.file.provider import FileProvider
from shared.market.calendar import exchange_calendar
provider = FileProvider(Path(sys.argv[1]), exchange_calendar)
assert provider.symbols()
print("pandas" in sys.modules)
"""


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_price_file_is_read_without_pandas(tmp_path: Path, kind: str) -> None:
    """It is forty megabytes for as long as the process runs, and Arrow loads it wherever it can."""
    texts = {
        "symbol": ["AAPL", "AAPL", "MSFT"],
        "date": ["2020-08-28", "2020-08-31", "2020-08-28"],
        "close": ["126", "", "2"],
    }
    table = pa.table(texts)
    prices = tmp_path / f"prices.{kind}"
    if kind == "csv":
        pa.csv.write_csv(table, prices)
    else:
        dates = pa.array([date.fromisoformat(day) for day in texts["date"]])
        typed = {"symbol": table["symbol"], "date": dates, "close": pa.array([126.0, None, 2.0])}
        pq.write_table(pa.table(typed), prices)
    (tmp_path / "corporate_actions.csv").write_text("symbol,ex_date,type,value\nAAPL,2020-08-31,split,4\nMSFT,,none,\n")
    (tmp_path / "symbols.csv").write_text("symbol,asset_type,sector\nAAPL,equity,Technology\n")
    command = [sys.executable, "-c", WITHOUT_PANDAS, str(prices)]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "False\n"


LOADED_BY_A_START = """
import importlib, sys, uvicorn
from deploy.embedded import beside, computing
from deploy.embedded.choices import settings_of
from deploy.embedded.composition import create_app
from shared.db.roles import PHASE_SERVICES
computing.load()
before = set(sys.modules)
for service in PHASE_SERVICES:
    uvicorn.Config(create_app(service, settings_of(service)), lifespan="off", log_config=None).load()
print(*sorted(set(sys.modules) - before))
"""


def test_what_services_load_when_they_start_is_loaded_before_one_of_them_is_forked_off() -> None:
    """Both processes would load it for themselves, and copy the pages that they share."""
    run = subprocess.run([sys.executable, "-c", LOADED_BY_A_START], capture_output=True, text=True, check=True)
    assert run.stdout.split() == []


def test_the_fork_comes_before_prices_are_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Reading takes memory in a thread's arena, which the forked process would keep and has no use for."""
    done: list[str] = []

    def check(*_: object) -> None:
        done.append("check")
        raise SystemExit

    monkeypatch.setattr(gc, "disable", lambda: None)
    monkeypatch.setattr(beside, "SERVICES", ("risk",))
    monkeypatch.setattr(beside, "listen_later", lambda _: None)
    monkeypatch.setattr(beside, "fork", lambda _: done.append("fork"))
    monkeypatch.setattr(computing, "_check", check)
    with pytest.raises(SystemExit):
        computing.main(str(tmp_path), "0", "1", "{}")
    assert done == ["fork", "check"]
