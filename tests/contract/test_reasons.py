"""The registry of reasons is the only place that knows them: documents come from it, and no code is used that it lacks."""

from pathlib import Path

import pytest

from shared.market import reasons

ROOT = Path(__file__).resolve().parents[2]


def test_every_code_has_its_entry_and_every_entry_says_what_to_do() -> None:
    assert set(reasons.REASONS) == set(reasons.ReasonCode)
    for code, known in reasons.REASONS.items():
        assert known.meaning, code
        assert known.remedy, code
        assert not known.remedy.endswith("."), code


def test_the_table_in_the_methods_is_the_registry() -> None:
    """Regenerate with `python -c "from shared.market import reasons; print(reasons.table())"`."""
    assert reasons.table() in (ROOT / "docs" / "methods.md").read_text()


def test_an_unknown_code_is_refused() -> None:
    with pytest.raises(ValueError, match="no_such_reason"):
        reasons.info("no_such_reason")


@pytest.mark.parametrize(
    ("code", "colours"),
    [("not_found", True), ("no_delta", True), ("no_proxy", False), ("short_history", False), ("rate_limited", False)],
)
def test_only_what_touches_value_or_risk_and_the_reader_can_mend_colours_the_state(code: str, *, colours: bool) -> None:
    assert reasons.colours_state(code) is colours
