"""The crash matrix: 34 named points, any number of seeds, each a process killed at that point in the life of a portfolio."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from shared.db.roles import SERVICES
from shared.work import Phase
from tests.crash import checks
from tests.crash.killer import Killer
from tests.crash.story import FIRST, LAST, QUIET_SECONDS, Story
from tests.crash.waiting import WaitingStory
from tests.crash.world import World

PHASES = tuple(phase.value for phase in Phase)
EVERY_STEP = ("import", "due", "edit", "correct", "flow", "rerun")
# A point that was not reached in the whole story is driven to by reruns, up to this many.
MORE_DRIVES = 12


@dataclass(frozen=True)
class Point:
    """Who dies at a fail point, from which step of the story on, and how many times the point may be passed before."""

    services: tuple[str, ...] = PHASES
    steps: tuple[str, ...] = EVERY_STEP
    passes: int = 3
    drive: str = "rerun"
    # Whether its life is one in which a price is waited for, in a world with a vendor.
    waits: bool = False


COORDINATOR, INGEST = ("coordinator",), ("ingest",)
# By letter. Names and places: shared/messaging/failpoints.py.
POINTS: Mapping[str, Point] = {
    "C1": Point(COORDINATOR, ("import", "edit", "flow", "rerun"), 1),
    "C2": Point(COORDINATOR, ("import", "edit", "flow"), 1),
    "C3": Point(COORDINATOR, ("import", "edit", "flow", "rerun"), 1),
    "C4": Point(COORDINATOR, ("import", "edit", "flow", "rerun"), 1),
    "C5": Point(COORDINATOR, ("import", "due"), 1, "due"),
    "C6": Point(COORDINATOR, ("import", "due"), 1, "due"),
    "R1": Point(SERVICES),
    "R2": Point(SERVICES),
    "R3": Point(SERVICES),
    "R4": Point(SERVICES),
    "R5": Point(SERVICES),
    "R6": Point(SERVICES, passes=1),
    "H1": Point(),
    "H2": Point(),
    "H3": Point(passes=1),
    "H4": Point(passes=2),
    "H5": Point(passes=2),
    "H6": Point(passes=2),
    "H7": Point(),
    "H8": Point(),
    "H9": Point(passes=2),
    "H10": Point(passes=2),
    "X1": Point(COORDINATOR),
    "X2": Point(COORDINATOR, ("import", "edit"), 1),
    "X3": Point(COORDINATOR, ("import", "edit"), 1),
    "X4": Point(COORDINATOR, ("import", "edit"), 1),
    "X5": Point(COORDINATOR, ("import", "edit"), 1),
    # After the import all symbols are known and all lots settled.
    "Y1": Point(INGEST, ("import",), 1),
    "Y2": Point(INGEST, ("import",), 1),
    "S1": Point(COORDINATOR, ("import",), 1),
    "S2": Point(COORDINATOR, ("import",), 1),
    "D1": Point(INGEST, ("import",), 1, waits=True),
    "L1": Point(INGEST, ("arrival",), 1, waits=True),
    "L2": Point(INGEST, ("arrival",), 1, waits=True),
}


# Who dies at a point and is started again dies a second time, at a point on the way back: before what the first death left
# undone is done.
PAIRS: Mapping[str, str] = {
    "C1": "C3",
    "C2": "C4",
    "C3": "C1",
    "C4": "R1",
    "C5": "C6",
    "C6": "R2",
    "R1": "R3",
    "R2": "R4",
    "R3": "R1",
    "R4": "R5",
    "R5": "R2",
    "R6": "R6",
    "H1": "H2",
    "H2": "H1",
    "H3": "H7",
    "H4": "H3",
    "H5": "H4",
    "H6": "H5",
    "H7": "H1",
    "H8": "H6",
    "H9": "H9",
    "H10": "H2",
    "X1": "X1",
    "X2": "X3",
    "X3": "X4",
    "X4": "X2",
    "X5": "X3",
    "Y1": "Y2",
    "Y2": "H7",
    "S1": "S2",
    "S2": "H7",
    "D1": "H6",
    "L1": "L2",
    "L2": "L1",
}


@dataclass(frozen=True)
class Case:
    point: str
    seed: int
    # Where the process that was started again dies once more; empty if it does not.
    then: str = ""

    def __str__(self) -> str:
        return f"{self.point}-{self.then}-{self.seed}" if self.then else f"{self.point}-{self.seed}"


@dataclass
class Result:
    """What became of a case."""

    case: Case
    service: str
    spec: str
    injected: bool = False
    # The second death came before what the first had left undone was done.
    recovering: bool = False
    stranded: bool = False
    differing: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    # Seconds from the end of the story, or the death if that came later, until all was quiet.
    healed: float = 0.0
    seconds: float = 0.0

    @property
    def good(self) -> bool:
        return self.injected and not (self.stranded or self.differing or self.lost)

    def __str__(self) -> str:
        problems = [*self.lost[:8], *(f"differs: {table}" for table in self.differing)]
        if not self.injected:
            problems.append("the crash did not happen")
        if self.stranded:
            problems.append(f"not quiet after {QUIET_SECONDS:.0f} s")
        spec = f"{self.spec}, then {self.case.then}" if self.case.then else self.spec
        return f"{self.case.point} seed {self.case.seed} {self.service} {spec}: {'; '.join(problems) or 'well'}"


def next_life(world: World) -> Story:
    world.slots += 1
    return (WaitingStory if world.vendor else Story)(world, world.slots - 1)


async def undisturbed(world: World) -> dict[str, str]:
    """The digest of the story when nothing goes wrong."""
    story = next_life(world)
    await story.tell()
    assert await story.quiet(hurry=False), "the undisturbed story does not end"
    found = await checks.violations(world, story.portfolio, FIRST, LAST)
    assert not found, found
    assert not world.deaths, world.deaths
    return await checks.digest(world, story.portfolio, story.symbols)


async def run_case(world: World, case: Case, oracle: Mapping[str, str]) -> Result:
    """One life with one death in it, or with two, one after the other."""
    began = time.monotonic()
    rng = random.Random(f"{case.point}:{case.seed}" + (f":{case.then}" if case.then else ""))
    point = POINTS[case.point]
    # All services of a point have their turn as the seeds go by, beginning with another one at each point.
    turn = case.seed + list(POINTS).index(case.point)
    service = point.services[turn % len(point.services)]
    spec = f"{case.point}:{rng.randint(1, point.passes)}" + (":STOP" if case.point == "X5" else "")
    result = Result(case, service, spec)
    story = next_life(world)
    killer = Killer(world, case.point, service, spec, rng, then=case.then)
    # Ingest asks a provider for what is not known yet, and after the import all is.
    asks = case.point == "H3" and service == "ingest"
    step_of_arming = "import" if asks else rng.choice(point.steps)
    for name, step in story.steps.items():
        if name == step_of_arming:
            await killer.arm(story)
        await step()
        if killer.armed and case.point.startswith("X") and not await killer.struck(0):
            await killer.lose_events(story)
        # Life waits while the first death is being recovered from: what the second meets is what that one left.
        result.recovering = await killer.struck_in_recovery(story) or result.recovering
        await asyncio.sleep(rng.uniform(0, 0.4))
    # What is asked for again is new again: the reconciler, at production's pace, would never find it old enough.
    within = max(1.5, world.turn_seconds) if case.point.startswith("X") else 1.5
    for _ in range(MORE_DRIVES):
        if await killer.struck(within):
            break
        await (story.date_due if point.drive == "due" else story.rerun)()
    result.recovering = await killer.struck_in_recovery(story) or result.recovering
    for _ in range(MORE_DRIVES if case.then and killer.at else 0):
        if await killer.struck_again(story, 1.5):
            break
        await (story.date_due if case.then in {"C5", "C6"} else story.rerun)()
    result.injected = await killer.struck(0.5) and (not case.then or killer.again_at > 0)
    await killer.done(story)
    ended = max(time.monotonic(), killer.at, killer.again_at)
    result.stranded = not await story.quiet(hurry=world.quick)
    result.healed = time.monotonic() - ended
    for name in world.processes:
        await world.ready(name)
    result.lost = await checks.violations(world, story.portfolio, FIRST, LAST)
    result.lost += await killer.own_violations()
    found = await checks.digest(world, story.portfolio, story.symbols)
    result.differing = [table for table, digest in found.items() if digest != oracle[table]]
    result.seconds = time.monotonic() - began
    return result


async def run_matrix(
    worlds: Sequence[World],
    cases: Sequence[Case],
    oracle: Mapping[str, str],
    results: Mapping[Case, asyncio.Future[Result]],
) -> None:
    """Deal the cases to the worlds; each world lives one at a time."""
    queue = list(cases)

    async def live(world: World) -> None:
        while queue:
            case = queue.pop(0)
            try:
                results[case].set_result(await run_case(world, case, oracle))
            except Exception as error:  # noqa: BLE001 - a case that cannot be told is that case's failure
                results[case].set_exception(error)

    await asyncio.gather(*(live(world) for world in worlds))
