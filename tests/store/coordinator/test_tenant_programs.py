"""The command line of tenant A against everything that is B's: each command that is registered, by id and by name.

A new command, or a new option, is tried too, or fails here until it is said what to give it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import pytest
import typer
from sqlalchemy.ext.asyncio import AsyncEngine
from typer.testing import CliRunner

from leadline import cli
from leadline.http import Client
from tests.store.coordinator.conftest import CSV
from tests.store.coordinator.two_tenants import SECRET, World, belongings, needles, two_tenants

# What names something of a tenant, by the argument's or option's name: the key of its id.
THINGS = {
    "portfolio": "portfolio_id", "of": "portfolio_id", "into": "portfolio_id", "limit": "limit_id", "webhook": "webhook_id",
    "run": "run_id", "token": "token_id", "user": "user_id", "invitation": "invitation_id", "tenant": "tenant_id", "undo": "import_id",
    "mapping": "name",
}  # fmt: skip
# `--remove` takes what its command lists.
REMOVED = {"lots": "position_id", "flows": "flow_id"}
PLAIN = {
    "name": "a name", "symbol": "AAPL", "figure": "status.missing", "code": "SP500", "day": "2020-12-29", "session": "2020-12-29",
    "letter": "1", "fund": "SPY", "url": "https://example.org/a", "reason": "so", "what": "missing", "role": "reader", "to": "MSFT",
    "first": "2020-12-28", "last": "2020-12-29", "trades": "AAPL=1", "equity": "100000", "csv": CSV, "above": "1",
}  # fmt: skip
# Options that name nothing of a tenant, and need not be given.
BESIDE = {
    "add", "every", "allow_duplicate_name", "as_json", "at", "basis", "benchmark", "below", "body", "borrow_rate", "by", "calls_per_second",
    "columns", "consumer", "currency", "account_type", "date", "dialect", "dry_run", "entry_date", "expires", "full", "header", "interest",
    "known_at", "limit", "margin_spread", "max_lots", "max_portfolios", "max_streams", "most", "note", "on_match", "person", "phase",
    "preset", "price_basis", "share", "state", "topic", "valid_from", "valid_to", "watch", "yes", "confirm",
}  # fmt: skip
# What a command reads.
FILES = {
    "import": CSV,
    "benchmark": "date,sector,weight\n2020-12-29,Technology,1\n",
    "fund": "symbol,weight\nAAPL,1\n",
}
# Speaks to an agent until it leaves; what it offers, `test_tenant_agents` tries.
ENDLESS = {("mcp",)}


@dataclass
class Bridge(httpx2.BaseTransport):
    """The application, for a client that waits in a thread; what was asked and answered."""

    world: World
    loop: asyncio.AbstractEventLoop
    asked: list[tuple[str, str, int, str]] = field(default_factory=list)

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        answer = asyncio.run_coroutine_threadsafe(self._ask(request), self.loop).result(60)
        self.asked.append((request.method, str(request.url), answer.status_code, answer.text))
        return httpx2.Response(answer.status_code, headers={"Content-Type": "application/json"}, content=answer.content)

    async def _ask(self, request: httpx2.Request) -> httpx2.Response:
        head = {name: value for name, value in request.headers.items() if name.lower() != "accept-encoding"}
        return await self.world.http.request(request.method, request.url, headers=head, content=request.read())


@dataclass
class Said:
    """What a command did: its exit code, what it printed, and what it asked."""

    code: int
    printed: str
    asked: list[tuple[str, str, int, str]]

    @property
    def reads(self) -> bool:
        return {method for method, *_ in self.asked} == {"GET"}


@pytest.fixture(scope="module", params=["policies and statements", "statements alone"])
async def world(
    request: pytest.FixtureRequest, engines: tuple[AsyncEngine, AsyncEngine], loops: AsyncEngine
) -> AsyncIterator[World]:
    engine = engines[0] if request.param.startswith("policies") else loops
    async with two_tenants(engine, engines, loops) as made:
        yield made


def commands(group: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every command of the client that is registered, with its parameters.

    Those of the machine's own installation, which `deploy.cli` adds once something has imported it, ask no server and take no token.
    """
    if not hasattr(group, "commands"):
        if not group.callback.__module__.startswith("deploy."):
            yield path, group
        return
    for name, inner in sorted(group.commands.items()):
        yield from commands(inner, (*path, name))


def lines(path: tuple[str, ...], command: Any, ids: dict[str, str], folder: Path) -> Iterator[tuple[list[str], bool]]:
    """What to type: with what is needed, and with each option beside that names something; and whether anything of a tenant is named."""
    words, options, further, named = list(path), [], [], False
    for parameter in command.params:
        name = parameter.name
        thing = REMOVED.get(path[-1]) if name == "remove" else THINGS.get(name)
        argument = parameter.param_type_name == "argument"
        if name == "limit" and not argument:
            thing = None  # how many
        value = folder / f"{path[0]}.csv" if name == "file" else folder / "out" if name == "output" else PLAIN.get(name)
        assert thing or value or name in BESIDE, f"{' '.join(path)}: what is {name}? Say it in {__file__}"
        if argument:
            words.append(ids[thing] if thing else str(value))
            named = named or bool(thing)
        elif parameter.required or name in ("above", "equity") or (path == ("import",) and name == "name"):
            options += [parameter.opts[0], str(value)]
        elif thing:
            further.append([parameter.opts[0], ids[thing]])
    if path == ("import",):
        yield [*words, *options], False
        yield [*words, *options, "--mapping", ids["name"]], True
        yield [*words, "--into", ids["portfolio_id"]], True
        yield [*path, "--into", ids["portfolio_id"], "--undo", ids["import_id"]], True
        return
    yield [*words, *options], named
    for more in further:
        yield [*words, *options, *more], True


async def typed(world: World, head: dict[str, str], line: list[str], patch: pytest.MonkeyPatch) -> Said:
    bridge = Bridge(world, asyncio.get_running_loop())
    token = head["Authorization"].removeprefix("Bearer ")
    patch.setattr(cli, "client", lambda: Client("http://test", token, transport=bridge))
    done = await asyncio.to_thread(CliRunner().invoke, cli.app, line, env={"COLUMNS": "400"})
    assert done.exception is None or isinstance(done.exception, SystemExit), (line, done.exception)
    return Said(done.exit_code, done.output, bridge.asked)


COMMANDS = dict(commands(typer.main.get_command(cli.app)))
# Those of which B is shown something of its own: the lines are right, and there is something to find.
OWN = {
    "status", "show", "explain", "export", "lots", "flows", "performance", "restatements", "runs", "limit list", "notify list",
    "token list", "user list", "user invitations",
}  # fmt: skip


@pytest.mark.parametrize("path", [path for path in COMMANDS if path not in ENDLESS], ids=" ".join)
async def test_no_command_finds_tells_or_changes_anything_of_another_tenant(
    world: World, path: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, content in FILES.items():
        (tmp_path / f"{name}.csv").write_text(content)
    before, asked, owned = await belongings(world), [], False
    assert len(before) > 30
    by_name = world.theirs | {"portfolio_id": SECRET, "limit_id": SECRET, "webhook_id": SECRET, "invitation_id": SECRET}
    for ids in (world.theirs, by_name):
        for line, named in lines(path, COMMANDS[path], ids, tmp_path):
            said = await typed(world, world.a, line, monkeypatch)
            assert said.asked, (line, said.printed)
            assert said.code == 1 if named else said.code in (0, 1), (line, said.printed)
            everything = "\n".join([said.printed, *(answer for *_, answer in said.asked)])
            for needle in needles(world):
                assert any(needle in word for word in line) or needle not in everything, (line, needle)
            assert not (tmp_path / "out").exists()
            if said.reads and ids is world.theirs and " ".join(path) in OWN:
                asked.append((line, said))
    # Before B asks anything itself, which may be noted too.
    assert await belongings(world) == before
    for line, said in asked:
        beside = [str(tmp_path / "own") if word == str(tmp_path / "out") else word for word in line]
        own = await typed(world, world.b, beside, monkeypatch)
        owned = owned or (own.printed != said.printed and not own.printed.startswith("There is no portfolio"))
    assert owned or " ".join(path) not in OWN
