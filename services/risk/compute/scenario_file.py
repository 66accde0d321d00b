"""What a scenario file says, read strictly: whatever cannot be meant is refused, with the entry and what to write instead."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from itertools import pairwise
from typing import Any

from services.risk.compute.replay_windows import sessions_of
from services.risk.compute.scenarios import (
    RATES_BP,
    BadScenarios,
    Duration,
    Replay,
    Scenario,
    Scenarios,
    VolatilityMove,
)
from shared.market.calendar import exchange_calendar
from shared.market.registry import FACTOR_NAMES, FACTORS, GROWTH, PROXY_SYMBOLS, RATES, STYLES, VALUE
from shared.text import unprintable

_FORM = "{as_of: 2020-12-31, duration: 18.5, convexity: 420}"
# An id is part of a figure's name, whose parts dots separate.
_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
# Convexity over squared duration: 1 is a single payment, which nothing without options is below; a barbell of a bill and a thirty-year
# bond stays below 5. Short durations have more convexity than that, from compounding.
_LEAST_RATIO, _MOST_RATIO, _MOST_MORE = 0.9, 5.0, 5.0
MOST_SCENARIOS = 500
MOST_NAME = 200
_LONGEST = 60.0  # years; no bond lives long enough for more
_SMALLEST_BP = 1.0
_REPLAY = "{from: 2020-02-19, to: 2020-03-23, returns: {SPY: -0.337}}"
_MOST_SIGMAS = 20.0
_MOST_RELATIVE, _MOST_POINTS, _LEAST_POINTS = 10.0, 300.0, 0.1


def parse(document: object) -> Scenarios:
    """Scenarios of a parsed YAML document. Raises `BadScenarios` naming the first entry that is wrong."""
    if not isinstance(document, Mapping):
        raise BadScenarios("the scenario file is not a mapping; it has a list `scenarios`, and may have `rates`")
    _refuse_unknown_keys(document, ("scenarios", "rates"), "the scenario file")
    durations = _durations(document["rates"]) if "rates" in document else ()
    listed = document.get("scenarios", () if durations else None)
    if not isinstance(listed, Sequence) or isinstance(listed, str):
        raise BadScenarios("the scenario file has no list `scenarios`")
    if len(listed) > MOST_SCENARIOS:
        raise BadScenarios(
            f"the scenario file has {len(listed)} scenarios; each is computed for every session: at most {MOST_SCENARIOS}"
        )
    scenarios = tuple(_scenario(item) for item in listed)
    ids = [scenario.id for scenario in scenarios]
    for twice in sorted({id_ for id_ in ids if ids.count(id_) > 1}):
        raise BadScenarios(f"scenario id {twice!r} occurs twice; give one of them another id")
    return Scenarios(scenarios, durations).check_rates()


def _durations(rates: Any) -> tuple[Duration, ...]:
    if not isinstance(rates, Mapping):
        raise BadScenarios(
            f"rates is {rates!r}, not a mapping with a list `durations` of {_FORM}; or leave `rates` out"
        )
    _refuse_unknown_keys(rates, ("durations",), "rates")
    listed = rates.get("durations")
    if not isinstance(listed, Sequence) or isinstance(listed, str) or not listed:
        raise BadScenarios(f"rates: durations is {listed!r}, not a list of {_FORM}; or leave `rates` out")
    found = sorted((_duration(item) for item in listed), key=lambda of: of.as_of)
    for one, following in pairwise(found):
        if one.as_of == following.as_of:
            raise BadScenarios(f"rates: two durations are dated {one.as_of}; keep one of them")
    return tuple(found)


def _duration(item: Any) -> Duration:
    if not isinstance(item, Mapping) or "as_of" not in item:
        raise BadScenarios(f"rates: duration {item!r} has no date `as_of`; write {_FORM}")
    as_of = item["as_of"]
    # YAML's timestamps are dates too, as Python sees it, and do not compare with them.
    if not isinstance(as_of, date) or isinstance(as_of, datetime):
        raise BadScenarios(
            f"rates: as_of is {as_of!r}, not a date; write 2020-12-31, without a time and without quotes"
        )
    where = f"rates: the duration of {as_of}"
    _refuse_unknown_keys(item, ("as_of", "duration", "convexity"), where)
    duration, convexity = _number(item, "duration", where), _number(item, "convexity", where)
    if not 0.0 < duration <= _LONGEST:
        raise BadScenarios(f"{where}: duration is {duration:g}; it is positive and in years, at most {_LONGEST:g}")
    low, high = _LEAST_RATIO * duration**2, _MOST_RATIO * duration**2 + _MOST_MORE
    if convexity < low:
        raise BadScenarios(
            f"{where}: convexity {convexity:g} is less than duration squared, {duration**2:.0f}, which no bond without options has; "
            "it is in years², and vendors may quote it divided by 100: multiply it first"
        )
    if convexity > high:
        raise BadScenarios(
            f"{where}: convexity {convexity:g} is beyond {high:.0f}, five times duration squared; it is in years²"
        )
    return Duration(as_of, duration, convexity)


def _scenario(item: Any) -> Scenario:
    if not isinstance(item, Mapping) or item.get("id") in (None, ""):
        raise BadScenarios(f"scenario {item!r} has no id")
    id_ = item["id"]
    if isinstance(id_, bool) or not isinstance(id_, str | int) or not _ID.fullmatch(str(id_)):
        raise BadScenarios(f"scenario id {id_!r}: an id is at most 64 letters, digits, _ and -")
    where = f"scenario {str(id_)!r}"
    _refuse_unknown_keys(item, ("id", "name", "shocks", "relative", "sigmas", "replay", "vol"), where)
    name = item.get("name", id_)
    if isinstance(name, bool) or not isinstance(name, str | int | float):
        raise BadScenarios(f"{where}: name is {name!r}, not a text")
    if len(str(name)) > MOST_NAME or (character := unprintable(str(name), lines=False)) is not None:
        wrong = (
            f"{len(str(name))} characters long; at most {MOST_NAME}"
            if len(str(name)) > MOST_NAME
            else f"with {character} in it"
        )
        raise BadScenarios(f"{where}: the name is {wrong}: it is shown on terminals and pages")
    vol = _volatility(item["vol"], where) if "vol" in item else None
    if "replay" in item:
        if beside := sorted({"shocks", "relative", "sigmas"} & set(item)):
            raise BadScenarios(f"{where} has {beside[0]} beside replay; a replay is what happened: keep one of them")
        return Scenario(str(id_), str(name), {}, None, replay=_replay(item["replay"], where), vol=vol)
    values, basis_points = _shocks(item, where) if "shocks" in item or "sigmas" not in item else ({}, None)
    sigmas = _sigmas(item["sigmas"], where) if "sigmas" in item else {}
    for factor in sigmas:
        if factor in values or (factor == RATES and basis_points is not None):
            raise BadScenarios(f"{where} has {factor} in shocks and in sigmas; both describe the same move: keep one")
    relative = item.get("relative", False)
    if not isinstance(relative, bool):
        raise BadScenarios(f"{where}: relative is {relative!r}; write true or false")
    if relative and not set(values) & set(STYLES):
        raise BadScenarios(f"{where} is relative and shocks no style; relative are {', '.join(STYLES)}: leave it out")
    return Scenario(str(id_), str(name), values, basis_points, relative, sigmas, vol=vol)


def _volatility(of: Any, where: str) -> VolatilityMove:
    form = "{relative: 0.5} (half as much again) or {points: 10}"
    if not isinstance(of, Mapping) or len(of) != 1 or set(of) - {"relative", "points"}:
        raise BadScenarios(f"{where}: vol is {of!r}; write what implied volatilities do as {form}")
    if "relative" in of:
        relative = _number(of, "relative", f"{where}: vol")
        if not -1.0 < relative <= _MOST_RELATIVE:
            raise BadScenarios(
                f"{where}: vol is {relative:g} times itself; between -1 and {_MOST_RELATIVE:g}, as in {form}"
            )
        return VolatilityMove(relative=relative)
    points = _number(of, "points", f"{where}: vol")
    if not abs(points) <= _MOST_POINTS or 0.0 < abs(points) < _LEAST_POINTS:
        raise BadScenarios(
            f"{where}: vol moves by {points:g} points; a point is one per cent a year, at most {_MOST_POINTS:g}, as in {form}"
        )
    return VolatilityMove(points=points / 100.0)


def _shocks(item: Mapping[Any, Any], where: str) -> tuple[dict[str, float], float | None]:
    """(decimal returns by factor, basis points)."""
    shocks = item.get("shocks")
    if not isinstance(shocks, Mapping) or not shocks:
        raise BadScenarios(f"{where} has no shocks; write them as {{market: -0.1}}")
    for unknown in shocks:
        if unknown not in (*FACTOR_NAMES, RATES_BP):
            raise BadScenarios(f"{where} shocks {unknown!r}; known are {', '.join(FACTOR_NAMES)}, {RATES_BP}")
    if RATES in shocks and RATES_BP in shocks:
        raise BadScenarios(f"{where} shocks both {RATES} and {RATES_BP}; both describe the same move: keep one")
    values = {factor: _number(shocks, factor, where) for factor in shocks}
    basis_points = values.pop(RATES_BP, None)
    for factor, value in values.items():
        _possible(factor, value, where)
    if basis_points is not None and 0.0 < abs(basis_points) < _SMALLEST_BP:
        raise BadScenarios(
            f"{where}: {RATES_BP} is {basis_points:g}, less than a basis point; one per cent of yield is 100"
        )
    return values, basis_points


def _possible(of: str, value: float, where: str) -> None:
    if value <= -1.0 or value > 1.0:
        lose = "a proxy cannot lose more than everything" if value < 0 else "a proxy does not more than double"
        raise BadScenarios(f"{where}: {of} is {value:g}, {value:.0%}; {lose}. Shocks are fractions: -20 % is -0.2")


def _sigmas(sigmas: Any, where: str) -> dict[str, float]:
    if not isinstance(sigmas, Mapping) or not sigmas:
        raise BadScenarios(f"{where}: sigmas is {sigmas!r}; write standard deviations of a quarter as {{size: 3}}")
    for unknown in sigmas:
        if unknown not in FACTOR_NAMES[1:]:
            raise BadScenarios(
                f"{where} has {unknown!r} in sigmas; known are {', '.join(FACTOR_NAMES[1:])}, whose residuals on the market are shocked"
            )
    values = {factor: _number(sigmas, factor, where) for factor in sigmas}
    for factor, value in values.items():
        if abs(value) > _MOST_SIGMAS:
            raise BadScenarios(
                f"{where}: {factor} is {value:g} standard deviations; beyond {_MOST_SIGMAS:g} no quarter goes. "
                "A return is written in shocks"
            )
    return _one_axis(values, where)


def _one_axis(sigmas: dict[str, float], where: str) -> dict[str, float]:
    """Growth is value with the sign turned: one axis, whose standard deviations are meant."""
    if GROWTH not in sigmas:
        return sigmas
    moved = -sigmas[GROWTH]
    if sigmas.get(VALUE, moved) != moved:
        raise BadScenarios(
            f"{where}: value is {sigmas[VALUE]:g} and growth {-moved:g} sigmas; they are one axis, value less growth: "
            f"keep one of them, growth with the sign turned"
        )
    return {VALUE if name == GROWTH else name: moved if name == GROWTH else of for name, of in sigmas.items()}


def _replay(of: Any, where: str) -> Replay:
    if not isinstance(of, Mapping):
        raise BadScenarios(f"{where}: replay is {of!r}; write it as {_REPLAY}")
    _refuse_unknown_keys(of, ("from", "to", "returns"), f"{where}: replay")
    days: list[Any] = [of.get(key) for key in ("from", "to")]
    for key, day in zip(("from", "to"), days, strict=True):
        if not isinstance(day, date) or isinstance(day, datetime):
            raise BadScenarios(f"{where}: replay has {key} {day!r}, not a date; write it as {_REPLAY}")
    first, last = days
    if first >= last:
        raise BadScenarios(
            f"{where}: replay ends on {last}, not after {first}; `from` is the close before the first return"
        )
    _has_sessions(first, last, where, from_prices="returns" not in of)
    if "returns" not in of:
        return Replay(first, last, {}, from_prices=True)
    returns = of["returns"]
    if not isinstance(returns, Mapping) or not returns:
        raise BadScenarios(
            f"{where}: replay has no returns of proxies; write it as {_REPLAY}, or leave `returns` out: those of stored prices count"
        )
    for unknown in returns:
        if unknown not in PROXY_SYMBOLS:
            raise BadScenarios(f"{where}: replay has a return of {unknown!r}; known are {', '.join(PROXY_SYMBOLS)}")
    if not set(returns) & set(FACTORS[0].proxies):
        raise BadScenarios(
            f"{where}: replay has no return of the market; add that of one of {', '.join(FACTORS[0].proxies)}"
        )
    found = {symbol: _number(returns, symbol, where) for symbol in returns}
    for symbol, value in found.items():
        _possible(symbol, value, where)
    return Replay(first, last, found)


def _has_sessions(first: date, last: date, where: str, *, from_prices: bool) -> None:
    """Refuses a window in which nothing can have happened. What is stated with its returns may be older than the calendar."""
    calendar = exchange_calendar()
    if last > calendar.horizon:
        raise BadScenarios(f"{where}: replay ends on {last}, beyond {calendar.horizon}; a replay is what happened")
    if first < calendar.first:
        if from_prices:
            raise BadScenarios(
                f"{where}: replay begins on {first}, before {calendar.first}, from which on sessions are known; state `returns` with it, "
                f"as in {_REPLAY}"
            )
    elif not sessions_of((first, last), calendar):
        raise BadScenarios(f"{where}: no session lies after {first} and by {last}; let the replay reach over one")


def _refuse_unknown_keys(of: Mapping[Any, Any], keys: Sequence[str], where: str) -> None:
    for key in of:
        if key not in keys:
            raise BadScenarios(f"{where}: {key!r} is not known; known are {', '.join(keys)}")


def _number(item: Mapping[Any, Any], key: str, where: str) -> float:
    value = item.get(key)
    try:
        if not isinstance(value, bool) and isinstance(value, int | float) and math.isfinite(value):
            return float(value)
    except OverflowError:
        pass  # a whole number that no float holds is refused like infinity
    raise BadScenarios(f"{where}: {key} is {str(value)[:40]!r}, not a finite number")
