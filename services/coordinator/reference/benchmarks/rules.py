"""What a table of sector weights must be. Pure; everything that is wrong is found at once, with thing and remedy."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from services.coordinator.errors import Invalid
from services.coordinator.importer import cells
from services.coordinator.importer.model import Issues
from services.coordinator.importer.parse import cell_text
from shared.market.sectors import GICS, gics

# Published weights are rounded, and some leave out cash: a sum this near to 1 is rescaled, any other one is a mistake.
TOLERANCE = Decimal("0.01")
CODE = re.compile(r"[A-Z0-9][A-Z0-9._-]{0,31}")


@dataclass(frozen=True, slots=True)
class Weights:
    """A benchmark's sectors on a date, sorted, rescaled to a sum of 1."""

    code: str
    date: date
    sectors: tuple[str, ...]
    weights: tuple[float, ...]
    stated_sum: float


def code_of(text: str) -> str:
    """The one spelling of a benchmark's code. Raises `Invalid`."""
    code = text.strip().upper()
    if not CODE.fullmatch(code):
        raise Invalid(
            f"Benchmark code {text[:100]!r} is not usable: write 1 to 32 letters, digits, dots, hyphens or underscores, such as SP500."
        )
    return code


def check(code: str, day: date, weights: Mapping[str, object], today: date) -> Weights:
    """The table as it will be stored. Raises `Invalid` with every fault.

    weights : sector, by its GICS name or a vendor's, to a decimal (0.27 is 27 %)
    today   : the newest date that is not in the future
    """
    code = code_of(code)
    issues = Issues()
    if day > today:
        issues.error(
            None, "date", "ERR_BENCH_001", f"date {day} is in the future; today is {today} in New York.", str(day)
        )
    if not weights:
        issues.error(
            None, "weights", "ERR_BENCH_002", "There are no weights. Give each sector its weight, such as 0.27."
        )
    found: dict[str, Decimal] = {}
    stated: dict[str, str] = {}
    for sector, value in weights.items():
        name, weight = _sector(sector, issues), _weight(sector, cell_text(value), issues)
        if name is None or weight is None:
            continue
        if name in found:
            issues.error(
                None, "sector", "ERR_BENCH_004",
                f"{sector[:100]!r} and {stated[name][:100]!r} are both {name}. Add them up, and give the sector once.", sector,
            )  # fmt: skip
            continue
        found[name], stated[name] = weight, sector
    total = sum(found.values(), Decimal(0))
    # Of weights that are wrong one by one the sum says nothing.
    if not issues.refused and abs(total - 1) > TOLERANCE:
        remedy = "Write decimals: 0.27 is 27 %." if total > 2 else "Is a sector missing, or there twice?"
        issues.error(
            None,
            "weights",
            "ERR_BENCH_007",
            f"The weights sum to {total.normalize():f}, not to 1 ± {TOLERANCE}. {remedy}",
            str(total),
        )
    if issues.refused:
        raise Invalid(
            f"Benchmark {code} of {day}: {issues.total} error{'s' if issues.total > 1 else ''}; nothing was saved.",
            errors=[issue.document() for issue in issues.errors],
        )
    names = tuple(sorted(found))
    return Weights(code, day, names, tuple(float(found[name] / total) for name in names), float(total))


def _sector(text: str, issues: Issues) -> str | None:
    name = gics(text)
    if name in GICS:
        return name
    issues.error(
        None, "sector", "ERR_BENCH_003",
        f"{text[:100]!r} is no GICS sector, nor a vendor's name of one. There are {', '.join(GICS)}. Leave out cash and funds.", text,
    )  # fmt: skip
    return None


def _weight(sector: str, text: str, issues: Issues) -> Decimal | None:
    value = cells.number(text.strip())
    if value is None:
        said = f"{text[:100]!r} is not a number" if text.strip() else "is not there"
        message = f"The weight of {sector[:100]!r} {said}. Write a decimal, such as 0.27 for 27 %."
        issues.error(None, "weight", "ERR_BENCH_005", message, text)
    elif value < 0:
        message = f"The weight of {sector[:100]!r} is {text.strip()}, below 0. A benchmark holds no shorts."
        issues.error(None, "weight", "ERR_BENCH_006", message, text)
    else:
        return value
    return None
