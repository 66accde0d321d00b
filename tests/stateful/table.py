"""Which invariant is shown where: I1 to I25 of the history of the monolith, V1 to V7 of the plan.

What the machine asserts is a function of the modules here or of `checks.py` of the crash tests. What needs a vendor, an
exchange, a broker or a figure is not of this machine: there a test elsewhere is named. Many have both.
"""

from __future__ import annotations

TRUTH, CHECKS = "tests/stateful/truth.py", "tests/crash/checks.py"
LIFE, PEOPLE, BUS = "tests/stateful/life.py", "tests/stateful/people.py", "tests/stateful/bus.py"
SOURCES = "tests/flow/test_sources_and_scope.py"
RUNS = "tests/store/coordinator/test_runs.py"
QUOTAS = "tests/store/ingest/test_quotas.py"

# Invariant: in words; what the machine asserts of it; tests elsewhere.
SHOWN: dict[str, tuple[str, tuple[str, ...], tuple[str, ...]]] = {
    "I1": (
        "the plan of phases depends on scope and date, not on the trigger",
        (f"{TRUTH}::scope", f"{TRUTH}::quiet"),
        (f"{SOURCES}::test_every_source_leads_to_the_same_completions",),
    ),
    "I2": ("completion is of a unit, in its output's transaction", (f"{TRUTH}::sound", f"{TRUTH}::figures"), ()),
    "I3": (
        "a missing unit is asked for within a bound, unaided",
        (f"{LIFE}::heal", f"{TRUTH}::still_moving", f"{TRUTH}::quiet"),
        (),
    ),
    "I4": ("due is each portfolio from its own first entry", (f"{TRUTH}::scope", f"{TRUTH}::quiet"), ()),
    "I5": ("a deleted portfolio is due nothing at once", (f"{TRUTH}::scope", f"{TRUTH}::gone"), ()),
    "I6": (
        "scope never widens",
        (f"{TRUTH}::within",),
        (f"{RUNS}::test_unknown_portfolios_are_listed_and_never_mean_all",),
    ),
    "I7": (
        "work on one symbol touches no other",
        (f"{TRUTH}::within", f"{PEOPLE}::correct"),
        (f"{SOURCES}::test_a_scoped_run_leaves_other_symbols_alone_and_equals_a_universe_run",),
    ),
    "I8": (
        "what is fetched is what is held and the proxies",
        (),
        (
            "tests/store/ingest/test_scope.py::test_thirteen_new_holdings_are_thirteen_questions_and_a_second_portfolio_is_none",
        ),
    ),
    "I9": (
        "leases expire and are fenced; triggers coalesce",
        (f"{LIFE}::wake", f"{PEOPLE}::rerun"),
        ("tests/store/test_ledger_leases.py::test_an_expired_lease_is_taken_and_its_holder_can_no_longer_touch_it",),
    ),
    "I10": ("status is derived, and nothing runs that does not", (f"{TRUTH}::quiet",), ()),
    "I11": (
        "duplicates, replays and reordering leave one state",
        (f"{TRUTH}::figures", f"{TRUTH}::history"),
        ("tests/flow/test_guard.py::test_nothing_is_acknowledged_while_it_is_being_handled",),
    ),
    "I12": (
        "snapshots are a chain",
        (f"{TRUTH}::sound", f"{TRUTH}::figures"),
        (f"{SOURCES}::test_an_interior_hole_is_filled_and_what_follows_is_recomputed",),
    ),
    "I13": (
        "dates are New York sessions after the close",
        (),
        ("tests/store/coordinator/test_hours.py::test_bugs_29_and_30_every_path_ends_with_the_last_closed_session",),
    ),
    "I14": (
        "quotas are shared and durable",
        (),
        (
            f"{QUOTAS}::test_bug_21_three_processes_with_one_key_never_exceed_the_window",
            f"{QUOTAS}::test_a_429_delays_only_its_provider_and_every_replica_of_it",
        ),
    ),
    "I15": (
        "unavailability is durable, with its retry time, and no failure",
        (f"{LIFE}::handle",),
        ("tests/store/ingest/test_scope.py::test_bug_22_a_dead_symbol_is_asked_for_once_a_window_over_135_sessions",),
    ),
    "I16": (
        "no failure is swallowed",
        (f"{TRUTH}::letters", f"{TRUTH}::figures", f"{TRUTH}::quiet"),
        ("tests/store/coordinator/test_reconciler.py::test_eight_failed_runs_block_with_a_dead_letter",),
    ),
    "I17": (
        "stale or missing prices are told",
        (),
        ("tests/flow/test_bad_input.py::test_a_series_that_ends_goes_stale_and_then_unpriceable",),
    ),
    "I18": (
        "a kill leaves a unit done or absent",
        (f"{TRUTH}::sound", f"{TRUTH}::figures"),
        ("tests/crash/test_matrix.py::test_nothing_is_lost_or_different_after_a_kill",),
    ),
    "I19": (
        "connections are bounded and timed out",
        (),
        ("tests/bugs/test_the_48_bugs.py::test_bug_32_a_hundred_portfolios_at_once_on_five_connections",),
    ),
    "I20": (
        "handlers and schemas are tested before they serve",
        (),
        ("tests/contract/test_event_schemas.py::test_the_code_still_produces_the_committed_schemas",),
    ),
    "I21": (
        "status is durable and of its own portfolio",
        (f"{TRUTH}::quiet",),
        ("tests/bugs/test_the_48_bugs.py::test_bug_13_two_onboardings_have_statuses_of_their_own",),
    ),
    "I22": (
        "one calendar, one classifier, one registry",
        (),
        ("tests/contract/test_import_rules.py::test_all_rules_hold",),
    ),
    "I23": (
        "a laggard pays alone",
        (),
        ("tests/store/coordinator/test_reconciler.py::test_a_laggard_and_a_deleted_portfolio_touch_nobody_else",),
    ),
    "I24": (
        "figures are those of a golden reference",
        (),
        ("tests/golden/test_ledger.py::test_nav_identity_is_exact",),
    ),
    "I25": (
        "creating is atomic, and the clock is the request's",
        (f"{PEOPLE}::create", f"{TRUTH}::scope"),
        (
            "tests/store/coordinator/test_create.py::test_an_import_creates_units_run_and_event_together",
            "tests/unit/coordinator/test_importer_rules.py::test_the_rules_know_the_day_of_the_request",
        ),
    ),
    "V1": (
        "completed once at the required revision, or blocked with a letter",
        (f"{CHECKS}::once_each", f"{TRUTH}::history", f"{TRUTH}::letters", f"{TRUTH}::quiet"),
        (),
    ),
    "V2": ("every completion has its outbox row", (f"{CHECKS}::unannounced", f"{TRUTH}::history"), ()),
    "V3": ("every outbox row is sent, under one id", (f"{TRUTH}::history", f"{BUS}::send"), ()),
    "V4": ("results are those of a serial oracle", (f"{TRUTH}::figures",), ()),
    "V5": (
        "nothing completes before what it stands on",
        (f"{CHECKS}::dependencies", f"{TRUTH}::history", f"{TRUTH}::sound"),
        (),
    ),
    "V6": ("quiet within a bound", (f"{LIFE}::heal", f"{TRUTH}::still_moving"), ()),
    "V7": ("no result that is nobody's", (f"{TRUTH}::scope", f"{TRUTH}::gone"), ()),
}
