"""What trades would do: the figures of a session before them and after, side by side."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple, Protocol

from services.coordinator.web import formats
from services.coordinator.web.texts import gettext as _
from services.coordinator.web.views.figures import Figure, Figures
from services.coordinator.web.views.names import label
from services.coordinator.web.views.reasons import by_figure, of_part
from shared.market.reasons import ReasonCode

Document = Mapping[str, Any]
NAV = ReasonCode.NAV_NOT_POSITIVE.value


class Form(Protocol):
    def __call__(self, value: float | None, *, signed: bool = ...) -> str: ...


class Line(NamedTuple):
    """A figure before and after; `figure` is its name in the answer's reasons, `stored` the one it was before."""

    name: str
    before: float | None
    after: float | None
    figure: str
    stored: str | None
    form: Form


def view(portfolio: str, document: Document) -> dict[str, Any]:
    why = by_figure(document["reasons"])
    stored, asked = Figures(portfolio, document["session"]), Figures("", None, linked=False)
    moved = {trade["symbol"]: trade for trade in document["trades"]}
    return {
        "session": document["session"],
        "trades": [
            {
                "symbol": item["symbol"],
                "quantity": formats.quantity(moved[item["symbol"]]["quantity"]),
                "price": formats.price(moved[item["symbol"]]["price"]),
                "money": asked.money("money", moved[item["symbol"]]["money"], signed=True),
                "before": formats.quantity(item["quantity_before"]),
                "after": formats.quantity(item["quantity_after"]),
                "weight_before": asked.percent("weight", item["weight_before"], 1, reason=NAV),
                "weight_after": asked.percent("weight", item["weight_after"], 1, reason=NAV),
            }
            for item in document["positions"]
            if item["symbol"] in moved
        ],
        "groups": [(title, [_row(stored, asked, line, why) for line in lines]) for title, lines in _groups(document)],
        "unknown": of_part(document["reasons"], "what_if."),
    }


def _groups(of: Document) -> Iterator[tuple[str, list[Line]]]:
    before, after = of["before"], of["after"]

    def money(name: str, key: str) -> Line:
        return Line(name, before[key], after[key], key, f"snapshots.{key}", formats.money)

    yield (
        _("Exposure"),
        [
            money(_("Net asset value"), "nav"),
            money(_("Cash"), "cash"),
            money(_("Long"), "long_value"),
            money(_("Short"), "short_value"),
            money(_("Gross"), "gross_exposure"),
            money(_("Net"), "net_exposure"),
        ],
    )
    yield _("Risk"), [*_volatility(before, after), *_tails(before, after)]
    yield (
        _("Betas"),
        [
            Line(label(old["factor"]), old["beta"], new["beta"], f"factors.{old['factor']}", None, formats.number)
            for old, new in zip(before["factors"], after["factors"], strict=True)
        ],
    )
    yield _("Concentration"), _concentration(before["concentration"], after["concentration"])


def _volatility(before: Document, after: Document) -> list[Line]:
    return [
        Line(
            _("Realized volatility, {window} sessions").format(window=name.removeprefix("realized_")),
            value,
            after["volatility"][name],
            f"volatility.{name}",
            f"risk.volatility.{name}",
            formats.percent,
        )
        for name, value in before["volatility"].items()
    ]


def _tails(before: Document, after: Document) -> list[Line]:
    lines: list[Line] = []
    for old, new in zip(before["var"], after["var"], strict=True):
        name, level = f"var.{old['method']}.{old['level']}", _percent(old["level"])
        lines += [
            Line(_("VaR {level}").format(level=level), old["var"], new["var"], name, f"risk.{name}", formats.percent),
            Line(
                _("Expected shortfall {level}").format(level=level),
                old["es"],
                new["es"],
                name,
                f"risk.{name}.es",
                formats.percent,
            ),
        ]
    return lines


def _percent(level: float) -> str:
    """95 and 97.5: with a decimal where there is one."""
    return formats.number(100 * level, 0 if (100 * level).is_integer() else 1)


def _concentration(before: Document, after: Document) -> list[Line]:
    def line(name: str, key: str, form: Form) -> Line:
        return Line(name, before[key], after[key], "concentration", f"risk.concentration.{key}", form)

    return [
        line(_("Effective positions"), "effective", formats.number),
        line(_("HHI"), "hhi", formats.whole),
        line(_("Top 3"), "top_3", formats.percent),
        line(_("Top 10"), "top_10", formats.percent),
    ]


def _row(stored: Figures, asked: Figures, line: Line, why: Mapping[str, str]) -> dict[str, Any]:
    change = None if line.before is None or line.after is None else line.after - line.before

    def said(value: float | None, when: str) -> Figure:
        named = line.stored if when == "before" else None
        reason = why.get(f"what_if.{when}.{line.figure}")
        return (asked if named is None else stored).of(named or line.figure, value, line.form, reason=reason)

    old, new = said(line.before, "before"), said(line.after, "after")
    return {
        "name": line.name,
        "before": old,
        "after": new,
        "change": asked.of(line.figure, change, _with_sign(line.form), reason=new.reason or old.reason),
    }


def _with_sign(form: Form) -> Callable[[float | None], str]:
    return lambda value: form(value, signed=True)
