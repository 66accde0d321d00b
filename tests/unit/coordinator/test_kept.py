"""What was read once is answered again for as long as nothing was committed, and no longer."""

from __future__ import annotations

from typing import Any

from services.coordinator.results.kept import MOST, Kept


class Snapshots:
    """A connection that is in one snapshot after the other."""

    def __init__(self) -> None:
        self.now: str | None = "700:700:"

    async def scalar(self, _: Any) -> str | None:
        return self.now


async def test_an_answer_holds_while_the_snapshot_is_the_same() -> None:
    conn, kept, read = Snapshots(), Kept[int](), list[int]()

    async def answer() -> int:
        read.append(len(read))
        return read[-1]

    async def ask(key: str) -> int:
        return await kept.get(conn, key, answer)  # type: ignore[arg-type]

    assert [await ask("a"), await ask("a"), await ask("b"), await ask("a")] == [0, 0, 1, 0]
    # One that was running has committed; then one that began later.
    for now, found in (("690:700:690", 2), ("700:700:", 3), ("701:701:", 4)):
        conn.now = now
        assert [await ask("a"), await ask("a")] == [found, found]


async def test_few_answers_are_kept_the_newest_ones() -> None:
    conn, kept, read = Snapshots(), Kept[int](), list[int]()

    async def ask(key: int) -> int:
        async def answer() -> int:
            read.append(key)
            return key

        return await kept.get(conn, key, answer)  # type: ignore[arg-type]

    for key in (*range(MOST + 1), MOST, 1, 0):
        assert await ask(key) == key
    assert read == [*range(MOST + 1), 0]


async def test_nothing_is_kept_where_a_snapshot_does_not_say_who_runs() -> None:
    """On a standby two snapshots may read alike and see different rows."""
    conn, kept, read = Snapshots(), Kept[int](), list[int]()

    async def answer() -> int:
        read.append(len(read))
        return read[-1]

    conn.now = None
    assert [await kept.get(conn, "a", answer) for _ in range(2)] == [0, 1]  # type: ignore[arg-type]
