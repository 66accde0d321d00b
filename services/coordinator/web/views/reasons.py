"""What a reason means to a reader: in words, who acts, and what heals it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from services.coordinator.web.texts import gettext as _
from shared.market.reasons import ReasonCode, info

NAV, RISK, FIGURE = "nav", "risk", "figure"
US, WAIT, YOU = "us", "wait", "you"


@dataclass(frozen=True, slots=True)
class Reason:
    """severity is what it touches: the value itself, risk as a whole, or one figure. acts: `us`, `wait` or `you`."""

    code: str
    means: str
    remedy: str
    severity: str = FIGURE
    acts: str = WAIT

    @property
    def needs_you(self) -> bool:
        return self.acts == YOU and self.severity != FIGURE

    @property
    def who(self) -> str:
        return {US: _("Leadline acts"), WAIT: _("time heals it"), YOU: _("you act")}[self.acts]


def reason(code: str | None) -> Reason:
    """Of any code: in the page's words, or else the registry's; what is no code is shown as it is."""
    if known := _table().get(code or ""):
        return known
    if code in set(ReasonCode):
        of = info(str(code))
        return _with_words(str(code), of.meaning, f"{of.remedy}.")
    return Reason(code or "", (code or _("unknown")).replace("_", " "), "")


def words(code: str | None) -> str:
    return reason(code).means


def group_by_reason(items: Iterable[Mapping[str, Any]]) -> list[tuple[str, list[str]]]:
    """(reason, figures and symbols): what one cause keeps from being known is said once."""
    found: dict[str, list[str]] = {}
    for item in items:
        about = " ".join(part for part in (item.get("symbol"), (item.get("figure") or "").replace("_", " ")) if part)
        found.setdefault(item["reason"], []).append(about.removeprefix("stress."))
    return list(found.items())


def by_figure(items: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """Why a figure of the portfolio is not known, by its name."""
    return {item["figure"]: item["reason"] for item in items if item.get("figure") and not item.get("symbol")}


def of_part(items: Iterable[Mapping[str, Any]], part: str) -> list[tuple[str, list[str]]]:
    """(reason, symbols or figures) of the figures that begin with `part`; each cause is said once."""
    found: dict[str, dict[str, None]] = {}
    for item in items:
        figure = str(item.get("figure") or "")
        if figure.startswith(part):
            about = item.get("symbol") or figure.removeprefix(part).replace(".", " ").replace("_", " ")
            found.setdefault(item["reason"], {})[about] = None
    return [(code, list(names)) for code, names in found.items()]


def _with_words(code: str, means: str, remedy: str) -> Reason:
    """The page's own words for a code; what it touches and who acts is the registry's."""
    of = info(code)
    return Reason(code, means, remedy, of.severity, of.acts)


def _table() -> Mapping[str, Reason]:
    return {row[0]: _with_words(*row) for row in (*_about_prices(), *_about_figures())}


Words = tuple[str, str, str]
"""A code, what it means and what heals it, in the reader's language."""


def _about_prices() -> tuple[Words, ...]:
    """Why a price is missing, carried or doubtful."""
    return (
        ("rate_limited", _("the provider's quota is used up"), _("Asked again by itself.")),
        ("provider_down", _("the provider does not answer"), _("Asked again by itself.")),
        ("late", _("the provider has not published it yet"), _("Asked again by itself.")),
        ("not_found", _("no provider knows the symbol"), _("Correct the symbol, or add a source that has it.")),
        ("ambiguous", _("several securities answer to the symbol"), _("Say which one is meant.")),
        ("delisted", _("trading ended; frozen at the last trade"), _("State the exit.")),
        (
            "foreign_currency",
            _("priced in another currency than US dollars"),
            _("Name the US listing or its depositary receipt."),
        ),
        (
            "plan_limit",
            _("the provider's plan does not cover the range"),
            _("A larger plan, another provider, or a later entry date."),
        ),
        ("not_yet_listed", _("before the first price any source has"), _("Fills up with time.")),
        ("no_trade", _("no trade on the session"), _("A later correction of the source.")),
        ("quarantined", _("the price jumped and is held back"), _("Release it or reject it under Operations.")),
        ("stale", _("carried at the last price"), _("The next price.")),
        ("unpriceable", _("no price for more than five sessions"), _("Add a price, or state the exit.")),
        ("expired", _("after the option's expiration, no exit stated"), _("State the exit.")),
        (
            "no_dividends",
            _("the source lists no dividends for it"),
            _("Add corporate_actions.csv beside the price file."),
        ),
        ("adjusted_only", _("only adjusted closes are known"), _("A source with closes.")),
    )


def _about_figures() -> tuple[Words, ...]:
    """Why a figure is not known, or stands on less than it should."""
    return (
        ("no_base", _("the horizon is longer than the history"), _("Nothing to do.")),
        ("no_proxy", _("none of the factor's proxies has a year of prices"), _("Add prices of a proxy.")),
        ("price_index", _("measured against an index without dividends"), _("Add prices of SPY.")),
        ("short_history", _("too few observations yet"), _("Fills up with time.")),
        ("zero_variance", _("the series does not move"), _("Nothing to do.")),
        (
            "low_coverage",
            _("good inputs behind less than 80 % of the value"),
            _("Heal the holdings named beside it."),
        ),
        ("nav_not_positive", _("the net asset value is not above zero"), _("Money in.")),
        ("no_capital", _("no capital somewhere in the product of returns"), _("Nothing for the past.")),
        ("no_root", _("no rate explains the flows"), _("Nothing to do.")),
        ("no_holdings", _("nothing is held"), _("Nothing to do.")),
        ("private", _("a holding without a market"), _("Nothing to do.")),
        (
            "no_delta",
            _("an option without a delta"),
            _("Prices of the option and of its underlying on the session."),
        ),
        ("with_underlying", _("stands with its underlying"), _("It is not missing.")),
        ("too_many", _("beyond the 200 largest holdings"), _("Nothing to do.")),
        ("no_series", _("the contract is another one every day"), _("Nothing to do.")),
        ("no_provider", _("no provider has said anything of it"), _("A provider of company data.")),
        ("broken_chain", _("a snapshot before it is missing"), _("Comes with the snapshots.")),
        (
            "no_duration",
            _("no duration or yield curve of the month before"),
            _("Date a duration in the scenario file."),
        ),
        (
            "basis_undecided",
            _("whether its price is as traded is not settled yet"),
            _("Settled with the prices of the entry session."),
        ),
        ("stale_duration", _("the newest duration is over 31 days old"), _("Date a newer one.")),
        ("no_benchmark", _("no benchmark weights are loaded"), _("Load them: leadline benchmark import.")),
    )
