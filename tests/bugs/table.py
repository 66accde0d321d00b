"""The 48 rows of the table of bugs: what went wrong then, and which tests show that it cannot now."""

from __future__ import annotations

HERE = "tests/bugs/test_the_48_bugs.py"
KILLS = "tests/bugs/test_kills_and_rights.py"
MATRIX = "tests/crash/test_matrix.py::test_nothing_is_lost_or_different_after_a_kill"
SOURCES = "tests/flow/test_sources_and_scope.py"
TRADING = "tests/flow/test_trading_day.py"
RUNS = "tests/store/coordinator/test_runs.py"
RECONCILER = "tests/store/coordinator/test_reconciler.py"
INGEST = "tests/store/ingest/test_ingest.py"
HOURS = "tests/store/coordinator/test_hours.py"
VENDORS = "tests/store/ingest/test_vendors.py"
PROXIES = "tests/unit/factors/test_proxies.py"
CALENDAR = "tests/unit/market/test_calendar.py"

BUGS: dict[str, tuple[str, tuple[str, ...]]] = {
    "1": ("two code paths skipped phases", (f"{SOURCES}::test_every_source_leads_to_the_same_completions",)),
    "2": ("a re-cut dropped whole phases", (f"{SOURCES}::test_a_night_completes_every_phase_of_the_plan",)),
    "2b": (
        "phases skipped when the last date was not today",
        (f"{SOURCES}::test_a_weekend_runs_the_same_phases_as_a_tuesday",),
    ),
    "3": (
        "a global maximum hid portfolios that were behind",
        (f"{SOURCES}::test_each_portfolio_catches_up_by_itself_and_deleted_ones_never",),
    ),
    "4": (
        "a deleted portfolio dragged the minimum",
        (
            f"{SOURCES}::test_each_portfolio_catches_up_by_itself_and_deleted_ones_never",
            "tests/store/coordinator/test_edits.py::test_a_deleted_portfolio_is_gone_at_once",
        ),
    ),
    "5": (
        "one laggard set everybody's range",
        (
            f"{RECONCILER}::test_a_laggard_and_a_deleted_portfolio_touch_nobody_else",
            f"{INGEST}::test_a_second_portfolio_of_the_same_symbols_asks_for_nothing",
        ),
    ),
    "6": (
        "an interior hole was invisible",
        (
            f"{SOURCES}::test_a_hole_that_a_lost_write_left_is_rebuilt_and_the_sessions_after_it_follow",
            f"{SOURCES}::test_an_interior_hole_is_filled_and_what_follows_is_recomputed",
            f"{RECONCILER}::test_an_interior_hole_is_found",
        ),
    ),
    "7": (
        "scope ignored by watermark and by force",
        (f"{RUNS}::test_a_forced_run_raises_only_its_scope_and_what_follows",),
    ),
    "8": (
        "a bad id aborted all, or meant all",
        (
            f"{RUNS}::test_unknown_portfolios_are_listed_and_never_mean_all",
            "tests/flow/test_bad_input.py::test_ids_that_do_not_exist_are_named_and_nothing_widens",
        ),
    ),
    "9": (
        "an onboarding event that was lost stayed lost",
        ("tests/flow/test_healing.py::test_a_portfolio_whose_creation_nobody_heard_of_is_completed",),
    ),
    "10": (
        "scoped prices overwrote everybody's factors",
        (
            f"{SOURCES}::test_a_scoped_run_leaves_other_symbols_alone_and_equals_a_universe_run",
            "tests/store/test_factors.py::test_a_scoped_run_stores_the_digits_of_a_universe_run",
        ),
    ),
    "11": (
        "1,193 symbols fetched for thirteen holdings",
        (
            f"{VENDORS}::test_thirteen_new_holdings_fetch_thirteen_symbols_and_the_missing_proxies",
            f"{INGEST}::test_what_is_held_and_the_proxies_are_asked_for_and_nothing_else",
        ),
    ),
    "12": (
        "a tracker never cleared refused everything until a restart",
        (MATRIX, f"{HERE}::test_bug_12_a_dead_coordinators_run_does_not_stand_in_the_way"),
    ),
    "13": ("one singleton for all runs", (f"{HERE}::test_bug_13_two_onboardings_have_statuses_of_their_own",)),
    "14": (
        "a history row ran for ever after a crash",
        (
            f"{KILLS}::test_bug_14_whoever_is_killed_in_a_phase_leaves_no_run_that_runs_for_ever",
            "tests/unit/coordinator/test_shapes.py::test_the_state_of_a_run_is_derived",
            MATRIX,
        ),
    ),
    "15": (
        "history writes nobody waited for",
        (
            f"{KILLS}::test_bug_15_a_finish_is_there_whole_or_not_at_all_when_the_process_ends_at_once",
            "tests/store/coordinator/test_create.py::test_an_import_creates_units_run_and_event_together",
            MATRIX,
        ),
    ),
    "16": (
        "a deploy killed the night's run",
        (
            "tests/flow/test_healing_liveness.py::test_sigterm_in_the_middle_of_a_handler_finishes_it_and_commits",
            MATRIX,
        ),
    ),
    "17": (
        "after a crash behind the snapshot nothing later was run",
        (MATRIX, "tests/flow/test_healing.py::test_lost_completions_are_made_good_in_the_same_digits"),
    ),
    "17b": (
        "a corrected price changed no snapshot",
        (
            "tests/store/ingest/test_refresh.py::test_a_rerun_of_ingest_brings_a_correction_and_all_that_follows",
            f"{INGEST}::test_a_corrected_price_is_a_new_version_and_the_old_one_is_kept",
        ),
    ),
    "18": (
        "a placeholder counted as complete",
        (
            "tests/flow/test_guard.py::test_a_consumer_killed_before_it_acknowledges_gets_the_message_again",
            MATRIX,
        ),
    ),
    "19": (
        "a missed day was lost from the equity",
        (
            f"{SOURCES}::test_each_portfolio_catches_up_by_itself_and_deleted_ones_never",
            f"{TRADING}::test_every_stored_snapshot_satisfies_the_nav_identity",
        ),
    ),
    "20": (
        "one row a date: one portfolio marked all",
        (f"{SOURCES}::test_each_portfolio_catches_up_by_itself_and_deleted_ones_never",),
    ),
    "21": (
        "a limiter per process went over the vendor's quota",
        (
            "tests/store/ingest/test_quotas.py::test_bug_21_three_processes_with_one_key_never_exceed_the_window",
            "tests/store/ingest/test_priority.py::test_bug_21_three_services_with_one_key_keep_the_window_and_fetch_prices_first",
        ),
    ),
    "22": (
        "a delisted symbol tried on 135 dates",
        (
            f"{VENDORS}::test_bug_22_a_dead_symbol_costs_one_chain_of_attempts_a_window_over_135_sessions",
            "tests/store/ingest/test_scope.py::test_bug_22_a_dead_symbol_is_asked_for_once_a_window_over_135_sessions",
        ),
    ),
    "23": (
        "fallbacks that could not run",
        (
            "tests/store/ingest/test_outage.py::test_bug_23_the_primary_is_down_for_an_hour_and_the_run_finishes_by_itself",
            f"{VENDORS}::test_bug_23_with_the_primary_down_for_an_hour_the_fallback_serves_and_the_primary_comes_back",
            "tests/unit/ingest/test_chain.py::test_the_second_serves_what_the_first_does_not_know",
        ),
    ),
    "24": (
        "a wrong import failed every run",
        (
            f"{SOURCES}::test_every_source_leads_to_the_same_completions",
            "tests/deploy/test_compose_processes.py::test_every_service_serves_the_five_operational_paths",
        ),
    ),
    "25": (
        "a swallowed mismatch left 3 of 12 factors",
        (
            "tests/store/test_factors.py::test_facts_of_what_is_held_and_of_the_proxies_are_stored",
            "tests/store/test_factors.py::test_a_unit_is_partial_where_a_holding_has_no_betas_and_names_it",
        ),
    ),
    "26": (
        "results never committed",
        (f"{TRADING}::test_every_read_answers_for_the_last_session",),
    ),
    "27": (
        "an unknown symbol always threw, and the run succeeded",
        (
            "tests/flow/test_bad_input.py::test_an_unknown_symbol_is_a_reason_and_stops_nobody",
            f"{VENDORS}::test_thirteen_new_holdings_fetch_thirteen_symbols_and_the_missing_proxies",
        ),
    ),
    "28": (
        "after a failure the status was idle or completed",
        (
            f"{RECONCILER}::test_eight_failed_runs_block_with_a_dead_letter",
            f"{RUNS}::test_a_run_whose_open_units_are_all_blocked_is_blocked",
        ),
    ),
    "29": (
        "before the close or late in the evening the wrong day",
        (
            f"{HOURS}::test_bugs_29_and_30_every_path_ends_with_the_last_closed_session",
            f"{HERE}::test_bug_29_the_last_closed_session_at_any_hour",
        ),
    ),
    "30": (
        "phantom dates, two calendars, no half-days",
        (
            f"{HOURS}::test_bugs_29_and_30_every_path_ends_with_the_last_closed_session",
            f"{HOURS}::test_bug_30_a_half_day_is_due_after_its_own_close",
            f"{CALENDAR}::test_closed_days_are_not_sessions",
            f"{CALENDAR}::test_every_recent_session_closes_at_four_or_one_in_new_york",
        ),
    ),
    "31": (
        "a completion's UTC date is not the exchange's",
        (
            f"{HOURS}::test_bug_31_what_was_finished_at_nine_in_the_evening_is_that_days_and_the_next_one_is_still_due",
            f"{CALENDAR}::test_the_label_is_the_exchanges_session_wherever_one_asks",
            f"{HERE}::test_bug_29_the_last_closed_session_at_any_hour",
        ),
    ),
    "32": ("connections ran out", (f"{HERE}::test_bug_32_a_hundred_portfolios_at_once_on_five_connections",)),
    "33": (
        "a background job on the request's session, before the check of rights",
        (
            f"{KILLS}::test_bug_33_a_foreign_id_changes_nothing_and_a_stranger_is_not_let_in",
            "tests/flow/test_bad_input.py::test_ids_that_do_not_exist_are_named_and_nothing_widens",
        ),
    ),
    "34": (
        "254 dates in one task",
        (
            f"{KILLS}::test_bug_34_a_kill_in_a_long_history_costs_one_batch_and_not_the_history",
            "tests/unit/shared/test_work.py::test_every_unit_falls_into_one_rectangle_within_the_limits",
            MATRIX,
        ),
    ),
    "35": (
        "a hung provider, and on with stale prices",
        (
            "tests/store/ingest/test_outage.py::test_bug_35_a_provider_that_hangs_ends_the_call_and_holds_back_what_is_built_on_it",
            "tests/contract/providers/test_fallback.py::test_the_next_provider_really_serves",
            f"{VENDORS}::test_bug_35_all_down_is_waited_for_and_never_taken_for_a_price_or_an_absence",
        ),
    ),
    "36": (
        "two schedulers, two runs",
        (
            f"{HOURS}::test_bug_36_schedulers_that_tick_at_once_add_one_set_of_units_and_tell_it_once",
            f"{RECONCILER}::test_two_leaders_are_harmless",
            f"{TRADING}::test_duplicates_in_any_order_change_nothing",
            "tests/flow/test_guard.py::test_the_same_event_again_in_any_number_changes_nothing",
        ),
    ),
    "37": (
        "a queue in memory, full at fifty",
        (
            f"{KILLS}::test_bug_37_fifty_one_onboardings_survive_a_restart",
            MATRIX,
            "tests/store/test_outbox.py::test_what_is_rolled_back_was_never_announced",
        ),
    ),
    "38": (
        "EQIX taken for a private holding",
        (
            f"{HERE}::test_bug_38_one_class_everywhere",
            "tests/unit/market/test_symbols.py::test_listed_names_that_look_like_private_ones_are_public",
            "tests/unit/market/test_symbols.py::test_an_expired_contract_is_still_an_option",
        ),
    ),
    "39": ("dates silently ignored", (f"{RUNS}::test_contradictory_arguments_are_refused",)),
    "40": (
        "other people's logs, and none after a restart",
        (
            f"{KILLS}::test_bug_40_what_went_wrong_with_one_portfolio_is_told_of_no_other_and_after_a_restart_still",
            f"{RUNS}::test_runs_are_listed_newest_first_in_pages",
        ),
    ),
    "41": (
        "one factor that is not seeded makes all unavailable",
        (
            f"{PROXIES}::test_the_registry_is_the_table_of_the_design",
            f"{PROXIES}::test_without_a_proxy_the_factor_is_null_and_the_others_are_as_if_it_did_not_exist",
        ),
    ),
    "42": (
        "32,767 parameters, overflow",
        (
            "tests/store/ingest/test_profiles.py::test_bug_42_five_thousand_symbols_are_stored",
            "tests/store/ingest/test_profiles.py::test_bug_42_figures_of_any_size_are_stored",
            f"{HERE}::test_bug_42_more_rows_than_a_statement_has_parameters",
            "tests/unit/snapshots/test_money.py::test_an_absurd_amount_is_refused",
        ),
    ),
    "43": (
        "the first day's P&L, closed positions that go on earning",
        (
            "tests/unit/snapshots/test_golden.py::test_buy_earns_close_less_fill_on_the_first_session",
            "tests/unit/snapshots/test_golden.py::test_entry_and_exit_on_one_session",
            "tests/golden/test_ledger.py::test_nav_identity_is_exact",
        ),
    ),
    "44": (
        "431 of 903 fields differed from the old engine",
        (
            "tests/unit/snapshots/test_identity.py::test_portfolios_equal_the_slow_version",
            "tests/golden/test_risk.py::test_volatility_equals_a_plain_loop",
        ),
    ),
    "45": (
        "the newest day was fixed when the process started",
        (
            "tests/unit/coordinator/test_importer_rules.py::test_the_rules_know_the_day_of_the_request",
            "tests/unit/coordinator/test_importer_rules.py::test_a_duplicate_row_is_a_warning_and_two_positions",
        ),
    ),
    "46": (
        "without a second call there were no analytics",
        (
            f"{TRADING}::test_a_csv_goes_through_all_four_phases",
            "tests/store/coordinator/test_create.py::test_an_import_creates_units_run_and_event_together",
        ),
    ),
}
