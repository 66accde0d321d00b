"""Guards of overload and of strangers, and what stands in the tree without them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Mutation:
    """Texts of one file, each standing there once, and what takes their places; the test that must not like it."""

    what: str
    file: str
    changes: tuple[tuple[str, str], ...]
    test: str


UNIT = "tests/unit/coordinator"
STORE = "tests/store/coordinator"
RUNNER = "tests/store/test_ledger_runner.py"

OVERLOAD = (
    Mutation(
        "overload: requests without a limit",
        "services/coordinator/api/capacity.py",
        (("if self.running >= self._limit:", "if False:"),),
        f"{UNIT}/test_capacity.py::test_the_request_beyond_the_limit_is_refused_at_once_and_the_next_after_one_is_answered",
    ),
    Mutation(
        "overload: probes wait with the others",
        "services/coordinator/api/capacity.py",
        ((' or scope["path"] in ALWAYS', ""),),
        f"{UNIT}/test_capacity.py::test_the_request_beyond_the_limit_is_refused_at_once_and_the_next_after_one_is_answered",
    ),
    Mutation(
        "overload: streams without a limit",
        "services/coordinator/control/streams.py",
        (("if self.open >= self._most:", "if False:"),),
        f"{UNIT}/test_streams.py::test_beyond_as_many_as_there_may_be_the_answer_is_503_and_a_place_is_free_again_after_each",
    ),
    Mutation(
        "overload: every stream looks for itself",
        "services/coordinator/control/streams.py",
        (("poll: _Poll[T] | None = self._polls.get(key)", "poll: _Poll[T] | None = None"),),
        f"{UNIT}/test_streams.py::test_a_hundred_readers_cost_as_many_looks_as_one",
    ),
    Mutation(
        "overload: a body is waited for without end",
        "services/coordinator/api/problems.py",
        (
            (
                "asyncio.timeout(min(SILENT_SECONDS, max(0.0, until - time.monotonic())))",
                "asyncio.timeout(SILENT_SECONDS)",
            ),
        ),
        f"{UNIT}/test_capacity.py::test_a_body_that_does_not_arrive_is_refused",
    ),
    Mutation(
        "overload: a head is waited for without end",
        "shared/head_deadline.py",
        (("self._head = self.loop.call_later(HEAD_SECONDS, self.timeout_keep_alive_handler)", "pass"),),
        "tests/unit/shared/test_head_deadline.py::test_a_head_that_does_not_come_is_not_waited_for",
    ),
    Mutation(
        "overload: one caller takes all",
        "services/coordinator/tokens/rate.py",
        (("if over > 0.5:", "if False:"),),
        f"{UNIT}/test_access.py::test_who_asks_too_often_waits_and_nobody_else_does",
    ),
    Mutation(
        "overload: guesses without a brake",
        "services/coordinator/tokens/brake.py",
        (("return max(0.0, (self._debt(place) - (BURST - 1)) * SECONDS_PER_GUESS)", "return 0.0"),),
        f"{UNIT}/test_access.py::test_guesses_are_slowed_and_those_who_are_in_go_on",
    ),
    Mutation(
        "overload: portfolios of any size",
        "services/coordinator/portfolios/limits.py",
        (("if limit is not None and new > max(limit, old):", "if False:"),),
        f"{STORE}/test_limits.py::test_a_new_portfolio_over_a_limit_is_refused_and_leaves_nothing",
    ),
    Mutation(
        "overload: lots are sent while others wait for the lock",
        "services/coordinator/context.py",
        (
            (
                "            await prepare(conn)\n        await limit_idle(conn)\n",
                (
                    "            await acquire_commit_order_lock(conn)\n            await prepare(conn)\n"
                    "        await limit_idle(conn)\n"
                ),
            ),
        ),
        f"{STORE}/test_behind_the_lock.py::"
        "test_a_file_is_checked_and_sent_before_the_lock_and_its_name_is_looked_at_behind_it",
    ),
    Mutation(
        "overload: all prices of a fetch are written while others wait for the lock",
        "services/ingest/compute/write_parts.py",
        (("if size and size + counted[ask.symbol_id] > most:", "if False:"),),
        "tests/unit/ingest/test_write_parts.py::test_a_part_holds_whole_symbols_up_to_so_many_rows_and_nothing_is_left_out",
    ),
    Mutation(
        "overload: all lots that were compared are written while others wait for the lock",
        "services/coordinator/portfolios/price_basis.py",
        (("if part and len(part) + len(of_symbol) > LOTS_A_WRITE:", "if False:"),),
        f"{STORE}/test_settlement_slices.py::test_what_is_compared_together_is_written_in_parts_of_whole_symbols",
    ),
    Mutation(
        "overload: an answer of a thousand lots is put together on the event loop",
        "services/coordinator/api/portfolios.py",
        (
            (
                "await asyncio.to_thread(serializers.import_answer, result, preview=preview)",
                "serializers.import_answer(result, preview=preview)",
            ),
        ),
        f"{STORE}/test_behind_the_lock.py::test_the_answer_to_an_import_is_put_together_beside_the_event_loop",
    ),
    Mutation(
        "overload: a probe compiles every migration",
        "shared/db/migrate.py",
        (("@cache\n", ""),),
        "tests/store/test_migrations.py::test_a_probe_reads_no_migration_again",
    ),
    Mutation(
        "overload: batches by units, whatever they cost",
        "shared/work.py",
        (("batches += [whole] if rows is None else _within(whole, rows, max_rows)", "batches += [whole]"),),
        f"{RUNNER}::test_batches_are_within_what_they_may_cost_the_phase",
    ),
    Mutation(
        "overload: phases of one process fill its memory side by side",
        "shared/phase/room.py",
        (
            (
                "return of_this_process().take(share, WAIT_SECONDS)",
                "return contextlib.nullcontext(enter_result=True)",
            ),
        ),
        f"{RUNNER}::test_phases_of_one_process_compute_their_large_batches_one_after_the_other",
    ),
    Mutation(
        "overload: room is waited for without end",
        "shared/phase/room.py",
        (("async with asyncio.timeout(within):", "async with asyncio.timeout(None):"),),
        "tests/unit/shared/test_room.py::test_who_waits_too_long_is_told_and_holds_up_nobody",
    ),
    Mutation(
        "overload: facts of a batch are encoded all at once",
        "services/factors/compute/rows.py",
        (
            ("for low in range(0, len(k), ROWS_AT_ONCE):", "for low in range(0, len(k), max(1, len(k))):"),
            ("k[low : low + ROWS_AT_ONCE], s[low : low + ROWS_AT_ONCE]", "k, s"),
        ),
        "tests/unit/factors/test_rows.py::test_rows_of_a_whole_batch_are_never_encoded_all_at_once",
    ),
    Mutation(
        "overload: lots of two hundred sessions are read at once",
        "services/risk/workflow/lots.py",
        (("width = max(1, LOTS_AT_ONCE // max(1, lots))", "width = 1_000_000"),),
        "tests/unit/risk/test_lots.py::test_a_range_is_read_in_pieces_of_so_many_lots_that_cover_each_day_once",
    ),
    Mutation(
        "overload: a run without a bound in time",
        "shared/phase/runner.py",
        (("if attempted and time.monotonic() > deadline:", "if False:"),),
        f"{RUNNER}::test_a_run_that_lasts_too_long_hands_the_rest_on",
    ),
    Mutation(
        "overload: deaths are not counted",
        "shared/ledger/leases.py",
        (("deaths = s.deaths + k.died::int,", "deaths = s.deaths,"),),
        f"{RUNNER}::test_each_death_in_a_row_halves_the_work_and_the_eighth_blocks_it",
    ),
    Mutation(
        "overload: a replay is for every consumer",
        "shared/messaging/dead_letters.py",
        ((" | {REPLAY_FOR: row.consumer}", ""),),
        "tests/store/test_outbox.py::test_a_dead_letter_is_replayed_once_through_the_outbox",
    ),
    Mutation(
        "overload: replays for others are handled too",
        "shared/messaging/retry_middleware.py",
        (("if headers.get(REPLAY_FOR, service) != service:", "if False:"),),
        "tests/flow/test_guard.py::test_a_dead_letter_that_was_mended_is_replayed_into_its_topic_and_for_nobody_else",
    ),
)
