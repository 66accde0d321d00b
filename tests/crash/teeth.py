"""Takes each safeguard out of a copy of the tree and runs the test that guards it: it must pass before and fail after.

`make teeth`, or `make teeth ARGS=overload` for those whose description has the word. Exit code 1 if a test does not notice.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.crash.mutations import OVERLOAD, Mutation

ROOT = Path(__file__).parents[2]
COPIED = (
    "deploy",
    "leadline",
    "services",
    "shared",
    "tests",
    "pyproject.toml",
    "docker-compose.yml",
    "README.md",
    "docs",
)
IGNORED = shutil.ignore_patterns("__pycache__", ".cache", ".pytest_cache", ".hypothesis")
START_SECONDS, TEST_SECONDS = 60, 120


# The unsent rows behind the last that was sent, as a relay with a cursor sees them.
AFTER_THE_LAST = """sent_at IS NULL AND failed_at IS NULL
    AND id > (SELECT coalesce(max(id), 0) FROM bus.outbox WHERE sent_at IS NOT NULL)"""

MUTATIONS = (
    Mutation(
        "without the completed-revision guard a unit completes twice",
        "shared/ledger/completion.py",
        (
            ("u.completed_revision < i.revision", "i.revision > 0"),
            ("u.completed_revision < l.revision", "l.revision > 0"),
        ),
        "tests/store/test_ledger.py::test_completing_is_idempotent_and_says_what_it_raised",
    ),
    Mutation(
        "without the revision guard old work counts for what is required now",
        "shared/ledger/completion.py",
        (("SET completed_revision = l.revision", "SET completed_revision = u.required_revision"),),
        "tests/store/test_ledger.py::test_work_in_flight_at_an_older_revision_does_no_harm",
    ),
    Mutation(
        "acknowledged first, committed afterwards",
        "shared/messaging/retry_middleware.py",
        (
            (
                '        failpoint("message.before_handler")\n',
                '        failpoint("message.before_handler")\n        await msg.ack()\n',
            ),
        ),
        "tests/flow/test_guard.py::test_a_consumer_killed_before_it_acknowledges_gets_the_message_again",
    ),
    Mutation(
        "FastStream's default acknowledgement policy",
        "shared/messaging/broker.py",
        (("ack_policy=AckPolicy.NACK_ON_ERROR", "ack_policy=AckPolicy.ACK_FIRST"),),
        "tests/flow/test_guard.py::test_nothing_is_acknowledged_while_it_is_being_handled",
    ),
    Mutation(
        "the relay as a cursor",
        "shared/messaging/relay.py",
        (("WHERE sent_at IS NULL AND failed_at IS NULL\n", f"WHERE {AFTER_THE_LAST}\n"),),
        "tests/flow/test_relay.py::test_ids_that_commit_out_of_order_are_all_sent",
    ),
    Mutation(
        "a unit is ready whatever became of its upstream",
        "shared/ledger/readiness.py",
        (("SELECT up.completed_revision >= up.required_revision FROM", "SELECT true FROM"),),
        "tests/stateful/test_ledger_machine.py::test_any_life_ends_with_every_figure_as_todays_inputs_give_it",
    ),
    Mutation(
        "without the commit-order lock",
        "shared/db/engine.py",
        (("SELECT ledger.order_lock()", "SELECT 1"),),
        "tests/store/test_ledger_order.py::test_revisions_are_drawn_in_commit_order",
    ),
    Mutation(
        "without one snapshot for revision and inputs",
        "shared/db/engine.py",
        (('isolation_level="REPEATABLE READ"', 'isolation_level="READ COMMITTED"'),),
        (
            "tests/store/test_ledger_order.py::test_work_that_reads_its_revision_and_inputs_apart_is_why_there_is_one_snapshot"
        ),
    ),
    *OVERLOAD,
)


def copy(to: Path) -> None:
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, to / name, ignore=IGNORED)
        else:
            shutil.copy(source, to / name)


def passes(tree: Path, *tests: str) -> bool:
    """Whether the tests pass in that tree. A run that does not come to testing at all is an error of ours."""
    jars = os.environ.get("LEADLINE_KAFKA_JARS", str(ROOT / "deploy" / "kafka" / ".cache"))
    environment = {"LEADLINE_KAFKA_JARS": jars, "PYTHONPATH": str(tree), "LEADLINE_STATEFUL_SHRINK": "0"}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "--timeout", str(TEST_SECONDS), *tests],
        cwd=tree,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=START_SECONDS + TEST_SECONDS * len(tests),
    )
    if done.returncode not in {0, 1} or " error" in done.stdout.splitlines()[-1]:
        sys.exit(f"{tests} did not run:\n{done.stdout[-3000:]}{done.stderr[-1000:]}")
    return done.returncode == 0


def mutate(tree: Path, mutation: Mutation) -> None:
    path = tree / mutation.file
    text = path.read_text(encoding="utf-8")
    for old, new in mutation.changes:
        if text.count(old) != 1:
            sys.exit(f"{mutation.file} has {old!r} {text.count(old)} times: the mutation needs to follow the code")
        text = text.replace(old, new)
    path.write_text(text, encoding="utf-8")


def main(word: str = "") -> None:
    mutations = [mutation for mutation in MUTATIONS if word in mutation.what]
    bitten = []
    with tempfile.TemporaryDirectory(prefix="leadline-teeth-") as scratch:
        whole = Path(scratch) / "whole"
        whole.mkdir()
        copy(whole)
        if not passes(whole, *dict.fromkeys(mutation.test for mutation in mutations)):
            sys.exit("the tests do not pass in an unchanged tree")
        for number, mutation in enumerate(mutations):
            began = time.monotonic()
            tree = Path(scratch) / str(number)
            tree.mkdir()
            copy(tree)
            mutate(tree, mutation)
            noticed = not passes(tree, mutation.test)
            bitten.append(noticed)
            verdict = "fails, as it must" if noticed else "DOES NOT NOTICE"
            name = mutation.test.rpartition("::")[2]
            sys.stdout.write(f"{verdict} ({time.monotonic() - began:.0f} s) | {mutation.what} | {name}\n")
            sys.stdout.flush()
            shutil.rmtree(tree)
    sys.exit(0 if bitten and all(bitten) else 1)


if __name__ == "__main__":
    main(*sys.argv[1:2])
