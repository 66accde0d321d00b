"""What is null of a session that was thinned out is all that its answer has: no section is forgotten when one is added."""

from __future__ import annotations

import pytest

from services.coordinator.api.models import results as models
from services.coordinator.api.models import risk as risk_models
from services.coordinator.api.models.common import Envelope
from services.coordinator.results import thinned
from services.coordinator.results.thinned import ThinnedOut

# Worked out of many rows, beside what the session's own has.
BESIDE = {"scorecard"}


@pytest.mark.parametrize(
    ("which", "model"), [("risk", risk_models.Risk), ("correlations", models.Correlations), ("stress", models.Stress)]
)
def test_every_section_of_an_answer_is_null(which: str, model: type[Envelope]) -> None:
    body = thinned.body(which, {})
    assert set(body) == set(model.model_fields) - set(Envelope.model_fields) - BESIDE
    assert set(body.values()) == {None}


def test_sections_that_are_null_have_no_figures_only_where_they_were_thinned_out() -> None:
    reason = {"figure": "risk", "symbol": None, "reason": "thinned_out"}
    of = {"coverage": 1.0, "volatility": None}
    assert thinned.drop_sections(of | {"reasons": []}) == of | {"reasons": []}
    assert thinned.drop_sections(of | {"reasons": [reason]}) == {"coverage": 1.0, "reasons": [reason]}
    assert thinned.entry("risk") == reason


def test_a_refusal_names_the_session_and_the_way_back() -> None:
    said = ThinnedOut("2020-10-15")
    assert (said.status, said.code) == (404, "thinned_out")
    assert "2020-10-15" in str(said)
    assert "leadline rerun" in str(said)
