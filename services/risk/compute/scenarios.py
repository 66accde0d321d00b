"""Stress scenarios as written down, and as shocks of the factors' proxies on a session (docs/methods.md §9)."""

from __future__ import annotations

import hashlib
import json
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date

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
    by_session: Mapping[date, Duration | None] = field(default_factory=dict, compare=False)
    """What counts on a session, where more is known than what is written down (`curve.with_curve_durations`)."""

    def extended(self, own: Scenarios) -> Scenarios:
        """These with a user's own: an id or a date that occurs in both is the user's. Raises `BadScenarios`."""
        scenarios = {scenario.id: scenario for scenario in (*self.scenarios, *own.scenarios)}
        durations = {duration.as_of: duration for duration in (*self.durations, *own.durations)}
        return Scenarios(tuple(scenarios.values()), tuple(durations[day] for day in sorted(durations))).checked()

    def checked(self) -> Scenarios:
        """Themselves. Raises `BadScenarios` where a move of yields is larger than duration and convexity can tell."""
        for scenario in self.scenarios:
            for of in self.durations:
                most = 10_000.0 * of.duration / of.convexity
                if scenario.rates_bp is not None and abs(scenario.rates_bp) > most:
                    raise BadScenarios(
                        f"scenario {scenario.id!r}: {RATES_BP} is {scenario.rates_bp:g}; with the duration and convexity of {of.as_of} "
                        f"a bond would gain again beyond {most:.0f} basis points. Script the return of the proxy as `{RATES}` instead"
                    )
        return self

    def described(self) -> str:
        """JSON of the scenarios of stored results: id, name, the factors that are scripted, and the script."""
        return json.dumps(
            [
                {
                    "id": of.id,
                    "name": of.name,
                    "factors": [FACTOR_NAMES[k] for k in of.scripted()],
                    "shocks": {name: of.shocks[name] for name in FACTOR_NAMES if name in of.shocks},
                    RATES_BP: of.rates_bp,
                }
                for of in self.scenarios
            ]
        )

    def dated(self) -> str:
        """JSON of the durations behind moves of yields, by date."""
        return json.dumps(
            [
                {"as_of": of.as_of.isoformat(), "duration": of.duration, "convexity": of.convexity}
                for of in self.durations
            ]
        )

    def digest(self) -> str:
        """Of everything that moves a figure. Sixteen digits tell apart more sets of scenarios than anybody will ever write."""
        return hashlib.sha256(f"{self.described()}\n{self.dated()}".encode()).hexdigest()[:16]

    def duration_on(self, session: date) -> Duration | None:
        """What counts on the session; else the newest that is dated on or before it."""
        if session in self.by_session:
            return self.by_session[session]
        index = bisect_right([duration.as_of for duration in self.durations], session)
        return self.durations[index - 1] if index else None
