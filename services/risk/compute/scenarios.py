"""Stress scenarios as written down, and as shocks of the factors' proxies on a session (docs/methods.md §9)."""

from __future__ import annotations

import json
import math
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from shared.errors import PermanentError
from shared.market.registry import FACTOR_NAMES, RATES

RATES_BP = "rates_bp"


class BadScenarios(PermanentError):
    """A scenario file says something that cannot be computed."""

    code = "bad_scenarios"


@dataclass(frozen=True, slots=True)
class Duration:
    """Duration in years and convexity in years² of the rates proxy, used from `as_of` on."""

    as_of: date
    duration: float
    convexity: float

    def proxy_return(self, basis_points: float) -> float:
        """-D·Δy + ½C·Δy², decimal."""
        dy = basis_points / 10_000.0
        return -self.duration * dy + 0.5 * self.convexity * dy * dy


@dataclass(frozen=True, slots=True)
class Scenario:
    """Shocks by factor as decimal returns of the raw proxies; `rates_bp` in basis points instead of a rates return."""

    id: str
    name: str
    shocks: Mapping[str, float]
    rates_bp: float | None

    def scripted(self) -> tuple[int, ...]:
        """Indices of the shocked factors, ascending."""
        return tuple(
            k
            for k, name in enumerate(FACTOR_NAMES)
            if name in self.shocks or (name == RATES and self.rates_bp is not None)
        )


@dataclass(frozen=True, slots=True)
class Scenarios:
    scenarios: tuple[Scenario, ...]
    durations: tuple[Duration, ...]
    """Ascending."""

    def extended(self, own: Scenarios) -> Scenarios:
        """These with a user's own: an id or a date that occurs in both is the user's."""
        scenarios = {scenario.id: scenario for scenario in (*self.scenarios, *own.scenarios)}
        durations = {duration.as_of: duration for duration in (*self.durations, *own.durations)}
        return Scenarios(tuple(scenarios.values()), tuple(durations[day] for day in sorted(durations)))

    def described(self) -> str:
        """JSON by which a reader knows the scenarios of stored results: id, name and the factors that are scripted."""
        return json.dumps(
            [
                {"id": of.id, "name": of.name, "factors": [FACTOR_NAMES[k] for k in of.scripted()]}
                for of in self.scenarios
            ]
        )

    def shocks_on(self, scenario: Scenario, session: date) -> dict[str, float] | None:
        """Proxy returns by factor, in the registry's order; None where a yield shock has no duration dated by then."""
        shocks = dict(scenario.shocks)
        if scenario.rates_bp is not None:
            index = bisect_right([duration.as_of for duration in self.durations], session)
            if index == 0:
                return None
            shocks[RATES] = self.durations[index - 1].proxy_return(scenario.rates_bp)
        return {name: shocks[name] for name in FACTOR_NAMES if name in shocks}


def parse(document: object) -> Scenarios:
    """Scenarios of a parsed YAML document. Raises `BadScenarios` naming the first entry that is wrong."""
    if not isinstance(document, Mapping):
        raise BadScenarios("the scenario file is not a mapping")
    rates = document.get("rates") or {}
    durations = tuple(sorted((_duration(item) for item in rates.get("durations", ())), key=lambda item: item.as_of))
    listed = document.get("scenarios")
    if not isinstance(listed, Sequence) or isinstance(listed, str):
        raise BadScenarios("the scenario file has no list `scenarios`")
    scenarios = tuple(_scenario(item) for item in listed)
    ids = [scenario.id for scenario in scenarios]
    for twice in sorted({id_ for id_ in ids if ids.count(id_) > 1}):
        raise BadScenarios(f"scenario id {twice!r} occurs twice")
    return Scenarios(scenarios, durations)


def _duration(item: Any) -> Duration:
    if not isinstance(item, Mapping) or not isinstance(item.get("as_of"), date):
        raise BadScenarios(f"duration {item!r} has no date `as_of`")
    return Duration(item["as_of"], _number(item, "duration", "rates"), _number(item, "convexity", "rates"))


def _scenario(item: Any) -> Scenario:
    if not isinstance(item, Mapping) or not item.get("id"):
        raise BadScenarios(f"scenario {item!r} has no id")
    id_, shocks = str(item["id"]), item.get("shocks")
    if not isinstance(shocks, Mapping) or not shocks:
        raise BadScenarios(f"scenario {id_!r} has no shocks")
    unknown = sorted(set(shocks) - {*FACTOR_NAMES, RATES_BP})
    if unknown:
        raise BadScenarios(f"scenario {id_!r} shocks {unknown[0]!r}; known are {', '.join(FACTOR_NAMES)}, {RATES_BP}")
    if RATES in shocks and RATES_BP in shocks:
        raise BadScenarios(f"scenario {id_!r} shocks both {RATES} and {RATES_BP}")
    values = {name: _number(shocks, name, id_) for name in shocks}
    for name, value in values.items():
        if name != RATES_BP and value <= -1.0:
            raise BadScenarios(f"scenario {id_!r}: {name} cannot lose more than everything")
    basis_points = values.pop(RATES_BP, None)
    return Scenario(id_, str(item.get("name") or id_), values, basis_points)


def _number(item: Mapping[str, Any], key: str, where: str) -> float:
    value = item.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise BadScenarios(f"{where}: {key} is {value!r}, not a finite number")
    return float(value)
