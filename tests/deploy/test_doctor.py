"""What `leadline doctor` examines: the run that is there, with what it was started with, or the environment."""

from __future__ import annotations

import io
import os
import subprocess
from datetime import date
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

import deploy.cli  # noqa: F401  (adds the commands of a server to the client's)
from deploy import doctor
from deploy.embedded import run, state
from deploy.embedded.demo import PRICES
from leadline.cli import app
from services.ingest.settings import IngestSettings
from shared.db.engine import create_engine
from shared.errors import ConfigurationError

ROOT = Path(__file__).parents[2]
RUN = {
    "url": "http://127.0.0.1:1",
    "database": "postgresql://leadline_coordinator:x@127.0.0.1:1/leadline",
    "ingest_database": "postgresql://leadline_ingest:x@127.0.0.1:1/leadline",
    "kafka": "127.0.0.1:2",
    "kafka_namespace": "",
    "as_of": "2020-12-31",
    "providers": "file",
    "reference_providers": "none",
    "data": str(PRICES),
}


def test_a_run_is_examined_with_its_own_choices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEADLINE_AS_OF", "2001-01-02")
    monkeypatch.setenv("LEADLINE_PROVIDERS", "yahoo")
    monkeypatch.setenv("LEADLINE_DATA", "elsewhere.csv")
    monkeypatch.setenv("LEADLINE_REFERENCE_PROVIDERS", "fred")
    with state.lock_state(tmp_path), state.announce_addresses(tmp_path, **RUN):
        patient = doctor.find(tmp_path)
    settings = patient.settings
    assert (settings.as_of, settings.providers, settings.data) == (date(2020, 12, 31), ("file",), PRICES)
    assert (settings.database_url, patient.ingest) == (RUN["database"], RUN["ingest_database"])
    assert settings.curve_sources == ()


def test_a_run_announces_whose_curves_it_asks_for() -> None:
    def announced(*names: str, references: tuple[str, ...] | None = None) -> str | None:
        return run._choices({"providers": names, "reference_providers": references})["reference_providers"]

    assert announced("file") == "none"
    assert announced("yahoo") == "treasury,fred"
    assert announced("yahoo", references=("fred",)) == "fred"


def test_the_state_directory_may_be_named_by_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Path | None] = []

    async def run_checks(chosen: Path | None) -> bool:
        asked.append(chosen)
        return True

    monkeypatch.setattr(doctor, "run_checks", run_checks)
    monkeypatch.setenv("LEADLINE_STATE", str(tmp_path))
    assert CliRunner().invoke(app, ["doctor"]).exit_code == 0
    assert asked == [tmp_path]


def test_a_directory_on_which_nothing_runs_is_not_taken_for_the_environment(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="no embedded Leadline runs on"):
        doctor.find(tmp_path / "missing")


def test_what_a_killed_run_announced_counts_for_nothing(tmp_path: Path) -> None:
    with state.announce_addresses(tmp_path, **RUN):
        (tmp_path / "lock").touch()
        assert state.find_running(tmp_path) is None


@pytest.mark.parametrize(
    ("content", "said"), [(None, "set LEADLINE_DATA"), ("symbol,date,close\nA,soon,1\n", "'soon' is not a date")]
)
async def test_a_price_file_that_cannot_be_read_is_told(tmp_path: Path, content: str | None, said: str) -> None:
    data = None
    if content is not None:
        data = tmp_path / "bad.csv"
        data.write_text(content)
    engine = create_engine(RUN["database"], application="test")
    [found] = await doctor.check_providers(IngestSettings(providers=("file",), data=data), engine)
    assert not found.answers
    assert said in found.said
    [good] = await doctor.check_providers(IngestSettings(providers=("file",), data=PRICES), engine)
    assert good.answers
    assert "symbols" in good.said
    await engine.dispose()


def test_a_start_without_prices_says_how_to_have_some(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LEADLINE_PROVIDERS", "LEADLINE_DATA"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(ConfigurationError, match="LEADLINE_PROVIDERS=yahoo leadline up"):
        run.assert_prices_named(IngestSettings())
    run.assert_prices_named(IngestSettings(providers=("yahoo",)))
    run.assert_prices_named(IngestSettings(data=tmp_path / "prices.csv"))


def test_the_readme_says_what_a_start_without_prices_says() -> None:
    with pytest.raises(ConfigurationError) as refused:
        run.assert_prices_named(IngestSettings(providers=("file",), data=None))
    blocks = (ROOT / "README.md").read_text(encoding="utf-8").split("```")[1::2]
    assert str(refused.value) in {" ".join(block.split()) for block in blocks}
    assert any(block.strip().startswith("LEADLINE_PROVIDERS=yahoo .venv/bin/leadline up") for block in blocks)


@pytest.mark.parametrize(
    ("data", "named", "said"),
    [
        (Path("p.csv"), "massive, file", "LEADLINE_PROVIDERS=massive,file is not used"),
        (Path("p.csv"), "file", None),
        (Path("p.csv"), None, None),
        (None, "massive", None),
    ],
)
def test_what_data_puts_aside_is_told(data: Path | None, named: str | None, said: str | None) -> None:
    notice = run.precedence(run.Options(data=data), {} if named is None else {"LEADLINE_PROVIDERS": named})
    assert (notice is None) == (said is None)
    assert said is None or said in (notice or "")


async def test_what_a_vendor_says_is_printed_as_it_is_and_does_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    said = "refuses [/v2/aggs] for [bold]us[/bold] \x1b[2J\x1b]52;c;cm0=\x07"

    async def wrong(_: object) -> str:
        raise doctor.CheckFailed(said)

    async def broken(_: object) -> str:
        raise ValueError(said)

    async def right(_: object) -> str:
        return said

    monkeypatch.setattr(doctor, "find", lambda _: doctor.Target(IngestSettings(), "[/the] environment"))
    for name, check in zip(("_database", "_migrations", "_clock", "_broker", "_topics", "_calendar"),
                           (wrong, broken, *[right] * 4), strict=True):  # fmt: skip
        monkeypatch.setattr(doctor, name, check)

    async def of_ingest(_: object, *, ingest: str | None) -> str:
        return said

    monkeypatch.setattr(doctor, "_providers", of_ingest)
    monkeypatch.setattr(doctor, "_prices", of_ingest)
    monkeypatch.setattr(doctor, "_yields", of_ingest)
    assert not await doctor.run_checks(None)
    out = capsys.readouterr().out
    assert "[/the] environment" in out
    assert out.count("refuses [/v2/aggs] for [bold]us[/bold]") == 9
    assert not {"\x1b", "\x07"} & set(out)


LAST = date(2020, 12, 30)
CURVE = {"date": "2020-12-29", "provider": "treasury", "fault": None, "asked_at": "2020-12-30T20:00:00Z"}


def test_the_age_of_the_newest_yield_curve_is_told() -> None:
    assert doctor.describe_curve(None, LAST) == "no curve was asked for yet"
    assert doctor.describe_curve(CURVE, LAST) == "the newest curve is of 2020-12-29 (treasury)"
    assert "2020-11-29" in doctor.describe_curve(CURVE | {"date": "2020-11-29"}, LAST)
    with pytest.raises(
        doctor.CheckFailed, match=r"of 2020-11-28, 32 days before 2020-12-30: treasury: timeout\. Check the way"
    ):
        doctor.describe_curve(CURVE | {"date": "2020-11-28", "fault": "treasury: timeout"}, LAST)
    with pytest.raises(doctor.CheckFailed, match="no curve has come since 2020-12-30T20:00:00Z: 503"):
        doctor.describe_curve(CURVE | {"date": None, "fault": "503"}, LAST)


async def test_nobody_is_asked_for_curves_where_nobody_is_on_the_network() -> None:
    assert "no curve is asked for" in await doctor._yields(IngestSettings(providers=("file",)))


def test_what_a_check_says_stays_in_its_line() -> None:
    """Whatever the words hold, and however narrow the terminal is."""
    out = io.StringIO()
    doctor._say(Console(file=out, width=40), "[red]wrong[/]  ", "broker", "two\nlines [red] " + "and more words " * 20)
    [line] = out.getvalue().splitlines()
    assert line.startswith("  wrong  broker: two lines [red] and more")


def test_the_demo_takes_another_port() -> None:
    """`make demo PORT=8010`: what it says where 8000 is taken.

    Run from `make test` it is a make within a make: that one hands down flags and says where it is, unless told not to.
    """
    alone = {name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL")}
    for given, expected in ((["PORT=8010"], "leadline demo --port 8010"), ([], "leadline demo")):
        asked = ["make", "--no-print-directory", "-n", "demo", *given]
        shown = subprocess.run(asked, cwd=ROOT, env=alone, capture_output=True, text=True, check=True)
        assert shown.stdout.rstrip().endswith(expected), shown.stdout
