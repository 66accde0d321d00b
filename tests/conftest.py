"""How a run of the suite is begun, shared out and told of. The servers that tests ask for are in tests/support/servers.py."""

from __future__ import annotations

import gc
import signal
import threading
from collections.abc import Generator
from types import FrameType
from typing import Any

import pytest
from hypothesis import settings

from shared.errors import ConfigurationError
from tests.support import brokers, groups, report


def pytest_configure(config: pytest.Config) -> None:
    _keep_asyncio_from_the_interrupt()
    # How long an example takes is the machine's affair.
    settings.register_profile("suite", deadline=None)
    settings.load_profile("suite")
    try:
        config.stash[brokers.chosen] = brokers.choose()
    except ConfigurationError as error:
        raise pytest.UsageError(str(error)) from error
    config.stash[report.used] = {}
    # Not in the process that only hands tests out to others. Without xdist, or with `-n 0`, there is none.
    if config.getoption("dist", "no") == "no" or config.option.collectonly:
        config.pluginmanager.import_plugin("tests.support.servers")


def _keep_asyncio_from_the_interrupt() -> None:
    """Where nobody else handles SIGINT, `asyncio.Runner` does, with the running task in its handler; `signal` then makes an error text
    of that task twice a run, result and all. An async fixture is a run whose result is what it yields: of a market of forty symbols
    that is three megabytes of text, a quarter of a second each test."""
    if threading.current_thread() is threading.main_thread() and (
        signal.getsignal(signal.SIGINT) is signal.default_int_handler
    ):
        signal.signal(signal.SIGINT, _interrupted)


def _interrupted(number: int, frame: FrameType | None) -> None:
    signal.default_int_handler(number, frame)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """What is collected lives as long as the process: garbage is not looked for meanwhile, nor afterwards among the million objects of
    libraries, modules and tests, which each full search would go through again."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()
        gc.freeze()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Before markers are chosen by (`-m unit`), and before the modules are dealt out."""
    placed = [(groups.place(item), item) for item in items]
    if hasattr(config, "workerinput"):
        rank = {name: number for number, name in enumerate(groups.in_order(name for name, _ in placed))}
        items[:] = [item for _, item in sorted(placed, key=lambda entry: rank[entry[0]])]


def pytest_report_header(config: pytest.Config) -> list[str]:
    return [f"broker to use: {config.stash[brokers.chosen]}"]


def pytest_sessionfinish(session: pytest.Session) -> None:
    report.send(session.config)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """A process of xdist has ended."""
    report.receive(node.config, getattr(node, "workeroutput", None), node.gateway.id)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    for line in report.skipped_lines(terminalreporter.stats.get("skipped", [])) + report.closing_lines(config):
        terminalreporter.write_line(line)
