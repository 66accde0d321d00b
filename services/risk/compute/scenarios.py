"""Stress scenarios as written down, and as shocks of the factors' proxies on a session (docs/methods.md §9)."""

from __future__ import annotations

import hashlib
import json
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import date

from shared.errors import PermanentError
from shared.market.curve import CURVE_MOST_DAYS
from shared.market.registry import FACTOR_NAMES, FACTORS, GROWTH, RATES, STYLES, VALUE, Factor

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
class Replay:
    """What the factors' proxies returned over a dated window: parameters of a scenario, good for any session."""

    first: date
    last: date
    returns: Mapping[str, float]
    """Total return from the close of `first` to that of `last`, decimal, by symbol of a proxy."""
    from_prices: bool = False
    """Whether the file states the window alone, and the returns are those of stored prices."""

    def to_document(self) -> dict[str, object]:
        """As a scenario file writes it; of a window alone also what was found."""
        of: dict[str, object] = {
            "from": self.first.isoformat(),
            "to": self.last.isoformat(),
            "returns": dict(sorted(self.returns.items())),
        }
        return of | {"from_prices": True} if self.from_prices else of


@dataclass(frozen=True, slots=True)
class VolatilityMove:
    """What becomes of the implied volatility of every option: times (1 + relative), plus points (0.10: ten)."""

    relative: float = 0.0
    points: float = 0.0

    def to_document(self) -> dict[str, float]:
        """As a scenario file writes it."""
        return {"relative": self.relative} if self.relative else {"points": 100.0 * self.points}


@dataclass(frozen=True, slots=True)
class Scenario:
    """What is scripted of the factors: moves stated in the file, or what a window brought."""

    id: str
    name: str
    shocks: Mapping[str, float]
    """By factor, decimal returns of the raw proxies; of styles, where `relative`, beyond the market's share b_k s_m."""
    rates_bp: float | None
    """Basis points, instead of a return of rates."""
    relative: bool = False
    sigmas: Mapping[str, float] = field(default_factory=dict)
    """By factor, residual shocks in standard deviations of a quarter of the residual, as of the session."""
    replay: Replay | None = None
    """Instead of all these."""
    vol: VolatilityMove | None = None

    def scripted_factors(self) -> tuple[int, ...]:
        """Indices of the shocked factors, ascending; of a replay, of those that it knows a proxy of. Growth is a move of value's axis."""
        return tuple(k for k, factor in enumerate(FACTORS) if self._scripts(factor))

    def is_relative(self, factor: str) -> bool:
        """Whether the script says how far the factor leaves what the market explains of it. Of value's axis one leg alone does."""
        if factor == VALUE and (VALUE in self.shocks) != (GROWTH in self.shocks):
            return True
        return factor in self.sigmas or (self.relative and factor in self.shocks and factor in STYLES)

    def _scripts(self, factor: Factor) -> bool:
        if factor.name == GROWTH:
            return False
        if self.replay is not None:
            # A window whose prices are not there yet is about all of them.
            empty = self.replay.from_prices and not self.replay.returns
            return empty or any(proxy in self.replay.returns for proxy in factor.proxies)
        return (factor.name == VALUE and GROWTH in self.shocks) or (
            factor.name in self.shocks
            or factor.name in self.sigmas
            or (factor.name == RATES and self.rates_bp is not None)
        )

    def to_document(self) -> dict[str, object]:
        """For stored results: what is beyond id, name, factors, shocks and basis points only where the script has it."""
        more: dict[str, object] = {"relative": True} if self.relative else {}
        if self.sigmas:
            more["sigmas"] = {name: self.sigmas[name] for name in FACTOR_NAMES if name in self.sigmas}
        if self.replay is not None:
            more["replay"] = self.replay.to_document()
        if self.vol is not None:
            more["vol"] = self.vol.to_document()
        return {
            "id": self.id,
            "name": self.name,
            "factors": [FACTOR_NAMES[k] for k in self.scripted_factors()],
            "shocks": {name: self.shocks[name] for name in FACTOR_NAMES if name in self.shocks},
            RATES_BP: self.rates_bp,
        } | more


@dataclass(frozen=True, slots=True)
class Scenarios:
    scenarios: tuple[Scenario, ...]
    durations: tuple[Duration, ...]
    """Ascending."""
    by_session: Mapping[date, Duration | None] = field(default_factory=dict, compare=False)
    """What counts on a session, where more is known than what is written down (`curve.with_curve_durations`)."""

    def extend(self, own: Scenarios) -> Scenarios:
        """These with a user's own: an id or a date that occurs in both is the user's. Raises `BadScenarios`."""
        scenarios = {scenario.id: scenario for scenario in (*self.scenarios, *own.scenarios)}
        durations = {duration.as_of: duration for duration in (*self.durations, *own.durations)}
        return Scenarios(tuple(scenarios.values()), tuple(durations[day] for day in sorted(durations))).check_rates()

    def check_rates(self) -> Scenarios:
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

    def to_json(self) -> str:
        """JSON of the scenarios of stored results: id, name, the factors that are scripted, and the script."""
        return json.dumps([of.to_document() for of in self.scenarios])

    def durations_to_json(self) -> str:
        """JSON of the durations behind moves of yields, by date."""
        return json.dumps(
            [
                {"as_of": of.as_of.isoformat(), "duration": of.duration, "convexity": of.convexity}
                for of in self.durations
            ]
        )

    def windows(self) -> tuple[tuple[date, date], ...]:
        """(from, to) of the replays whose returns are those of stored prices, each once, ascending."""
        of = (scenario.replay for scenario in self.scenarios)
        return tuple(
            sorted({(replay.first, replay.last) for replay in of if replay is not None and replay.from_prices})
        )

    def with_returns(self, returns: Mapping[tuple[date, date], Mapping[str, float]]) -> Scenarios:
        """These with the returns of their windows; of one that is not named, with none."""
        return replace(self, scenarios=tuple(_with_returns(scenario, returns) for scenario in self.scenarios))

    def as_written(self) -> str:
        """Digest of what the file says, whatever prices are stored: services that share a file have the same."""
        return self.with_returns({}).digest()

    def digest(self) -> str:
        """Of everything that moves a figure, the age of curves among it. Sixteen digits tell apart more sets than anybody will write."""
        return hashlib.sha256(f"{self.to_json()}\n{self.durations_to_json()}\n{CURVE_MOST_DAYS}".encode()).hexdigest()[
            :16
        ]

    def duration_on(self, session: date) -> Duration | None:
        """What counts on the session; else the newest that is dated on or before it."""
        if session in self.by_session:
            return self.by_session[session]
        index = bisect_right([duration.as_of for duration in self.durations], session)
        return self.durations[index - 1] if index else None


def _with_returns(scenario: Scenario, returns: Mapping[tuple[date, date], Mapping[str, float]]) -> Scenario:
    of = scenario.replay
    if of is None or not of.from_prices:
        return scenario
    return replace(scenario, replay=replace(of, returns=dict(returns.get((of.first, of.last), {}))))
