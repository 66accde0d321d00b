"""No reason code is used that the registry lacks, and none is written out where the registry could be named."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from services.ingest.model.market import NoDataReason
from services.snapshots.compute.model import GAP_REASONS, Reason
from shared.market.reasons import ABSENCES, ReasonCode

ROOT = Path(__file__).resolve().parents[2]
CODES = {code.value for code in ReasonCode}
# What names no code between quotes need not be parsed, nor what gives no reason.
_ANY_CODE = re.compile(rf"""["'](?:{"|".join(map(re.escape, sorted(CODES)))})["']""")
_ANY_REASON = re.compile(r"""\breason\s*=|["']reason["']""")
# Words of everyday that are codes too: found everywhere as what they mean.
COMMON = {ReasonCode.BLOCKED.value}

# Words that are spelled like a code and mean something else: codes of errors, kinds of faults, keys of answers, columns.
HOMONYMS: dict[str, frozenset[str]] = {
    "services/coordinator/api/examples_analytics.py": frozenset({"stale"}),
    "services/coordinator/api/models/analytics.py": frozenset({"stale"}),
    "services/coordinator/api/models/common.py": frozenset({"not_found"}),
    "services/coordinator/api/problem_codes.py": frozenset({"not_found", "not_fetched", "thinned_out"}),
    "services/coordinator/api/models/people.py": frozenset({"expired"}),
    "services/coordinator/api/models/tokens.py": frozenset({"expired"}),
    "services/coordinator/api/people.py": frozenset({"expired"}),
    "services/coordinator/api/tokens.py": frozenset({"expired"}),
    "services/coordinator/errors.py": frozenset({"not_found", "not_fetched"}),
    "services/coordinator/explain/portfolios.py": frozenset({"stale"}),
    "services/coordinator/explain/symbols.py": frozenset({"stale"}),
    "services/coordinator/importer/basis_model.py": frozenset({"ambiguous"}),
    "services/coordinator/importer/basis_warnings.py": frozenset({"price_basis_mismatch", "price_basis_ambiguous"}),
    "services/coordinator/portfolios/edit_scope.py": frozenset({"ambiguous"}),
    "services/coordinator/results/attribution.py": frozenset({"stale"}),
    "services/coordinator/results/figure_series.py": frozenset({"stale"}),
    "services/coordinator/results/figures.py": frozenset({"stale"}),
    "services/coordinator/results/performance.py": frozenset({"stale"}),
    "services/coordinator/results/portfolios.py": frozenset({"stale"}),
    "services/coordinator/results/snapshot_rows.py": frozenset({"stale"}),
    "services/coordinator/web/views/attribution.py": frozenset({"stale"}),
    "services/coordinator/web/views/header.py": frozenset({"stale"}),
    "services/coordinator/web/views/returns.py": frozenset({"stale"}),
    "services/coordinator/web/views/tokens.py": frozenset({"expired"}),
    "services/factors/compute/__init__.py": frozenset({"stale"}),
    "services/factors/compute/freshness.py": frozenset({"stale"}),
    "services/ingest/model/market.py": frozenset({"rate_limited", "plan_limit"}),
    "services/ingest/providers/errors.py": frozenset(
        {"rate_limited", "provider_down", "plan_limit", "foreign_currency", "not_found", "late"}
    ),
    "services/ingest/providers/quota/rate_limited.py": frozenset({"rate_limited"}),
    "services/ingest/workflow/quotas.py": frozenset({"provider_down"}),
    "services/snapshots/compute/money.py": frozenset({"amount_too_large"}),
    "services/snapshots/store.py": frozenset({"stale"}),
    "services/snapshots/workflow/inputs.py": frozenset({"stale", "ambiguous"}),
    "services/snapshots/workflow/rows.py": frozenset({"stale"}),
}
# The page's words for each code, to be translated; a code that the registry lacks is refused there when it is looked up.
TEXTS = "services/coordinator/web/views/reasons.py"
# Reasons of other things than figures: why a provider is closed, why a message was put aside.
OTHER_REASONS = frozenset(
    {"auth", "blocked", "running", "failing", "waiting_for_provider", "asked", "queued", "unknown_type"}
)
_IN_SQL = (
    r"\breason\s+(?:NOT\s+)?IN\s*\(([^()]*)\)",
    r"\breason\s*(?:=|<>)\s*('[a-z_]+')",
    r"(?<!->>)\s('[a-z_]+')\s+AS\s+reason\b",
    r"coalesce\(reasons\s*->>\s*'[a-z_]+',\s*('[a-z_]+')\)",
)


def _sources(pattern: str) -> Iterator[tuple[str, str]]:
    for top in ("services", "shared"):
        for path in sorted((ROOT / top).rglob(pattern)):
            yield path.relative_to(ROOT).as_posix(), path.read_text()


def _literals(tree: ast.AST) -> Iterator[ast.Constant]:
    """String constants of a module. Text between the fields of an f-string is no constant of its own."""
    inside = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in inside:
            yield node


def written_out(name: str, source: str) -> list[str]:
    """Places where a code stands as a literal."""
    known = HOMONYMS.get(name, frozenset())
    if not _ANY_CODE.search(source):
        return []
    return [
        f"{name}:{node.lineno} {node.value!r}"
        for node in _literals(ast.parse(source))
        if node.value in CODES - COMMON and node.value not in known
    ]


def unknown_in_sql(name: str, source: str) -> list[str]:
    """Codes that SQL compares a reason with, or names as one, and the registry lacks."""
    found = []
    for pattern in _IN_SQL:
        for match in re.finditer(pattern, source):
            codes = re.findall(r"'([a-z_]+)'", match.group(1))
            found += [f"{name}: {code!r}" for code in codes if code not in CODES | OTHER_REASONS]
    return found


def named_unknown(name: str, source: str) -> list[str]:
    """String literals given as a reason, by keyword or under the key of a document, that the registry lacks."""
    given: list[ast.expr] = []
    if not _ANY_REASON.search(source):
        return []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call):
            given += [word.value for word in node.keywords if word.arg == "reason"]
        elif isinstance(node, ast.Dict):
            given += [
                value
                for key, value in zip(node.keys, node.values, strict=True)
                if isinstance(key, ast.Constant) and key.value == "reason"
            ]
    return [
        f"{name}:{node.lineno} {node.value!r}"
        for node in given
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and re.fullmatch(r"[a-z_]+", node.value)
        and node.value not in CODES | OTHER_REASONS
    ]


def test_no_code_is_written_out_where_the_registry_could_be_named() -> None:
    found = [
        place
        for name, source in _sources("*.py")
        if name not in {"shared/market/reasons.py", TEXTS}
        for place in written_out(name, source)
    ]
    assert found == [], "name the member of shared.market.reasons.ReasonCode"


def test_sql_knows_no_other_codes() -> None:
    places = [*_sources("*.py"), *_sources("*.sql")]
    assert [found for name, source in places for found in unknown_in_sql(name, source)] == []


def test_nothing_gives_a_reason_that_the_registry_lacks() -> None:
    assert [found for name, source in _sources("*.py") for found in named_unknown(name, source)] == []


@pytest.mark.parametrize(
    ("check", "source"),
    [
        (written_out, 'x = "unpriceable"'),
        (unknown_in_sql, "SELECT 1 FROM g WHERE g.reason IN ('no_trade', 'no_idea')"),
        (unknown_in_sql, "SELECT symbol, 'no_idea' AS reason FROM t"),
        (unknown_in_sql, "SELECT 1 FROM g WHERE g.reason = 'no_idea'"),
        (named_unknown, 'f(reason="no_idea")'),
        (named_unknown, 'd = {"reason": "no_idea"}'),
    ],
)
def test_the_checks_find_what_they_look_for(check: object, source: str) -> None:
    assert callable(check)
    assert check("some.py", source)


def test_what_ingest_stores_and_what_snapshots_read_of_an_absence_are_in_the_registry() -> None:
    assert {reason.value for reason in NoDataReason} <= set(ABSENCES)
    assert ("", *ABSENCES) == GAP_REASONS
    assert {reason.name.lower() for reason in Reason if reason is not Reason.NONE} <= CODES
