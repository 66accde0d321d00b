"""What a user is answered about a computed unit: the coordinator's bodies, made of the columns that risk would store."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np

from services.coordinator.results import risk as reads
from services.risk.compute.report import RiskReport
from services.risk.compute.scenarios import Scenarios
from services.risk.store.results import SHARED_COLUMNS


@dataclass(frozen=True)
class Answered:
    """One unit with the bodies of its four answers."""

    picture: RiskReport
    exposures: dict[str, Any]
    risk: dict[str, Any]
    correlations: dict[str, Any]
    stress: dict[str, Any]

    @property
    def session(self) -> date:
        return self.picture.session

    @property
    def quality(self) -> str:
        return self.picture.quality

    @property
    def coverage(self) -> float:
        return self.picture.coverage

    @property
    def reasons(self) -> list[dict[str, Any]]:
        return self.picture.reasons


def answered(picture: RiskReport, scenarios: Scenarios) -> Answered:
    columns = {
        name: value.tolist() if isinstance(value, np.ndarray) else value for name, value in picture.columns.items()
    }
    shared = dict.fromkeys(SHARED_COLUMNS)
    row = columns | shared | {"risk": picture.risk, "scenarios": json.loads(scenarios.to_json())}
    return Answered(picture, **{name: answer.body(row) for name, answer in reads.ANSWERS.items()})
