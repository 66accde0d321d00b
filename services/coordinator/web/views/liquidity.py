"""Liquidity: how long what is held takes to sell."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from services.coordinator.web import formats
from services.coordinator.web.texts import gettext as _
from services.coordinator.web.texts import ngettext
from services.coordinator.web.views.figures import Figure, Figures
from services.coordinator.web.views.reasons import by_figure, of_part
from shared.market.reasons import ReasonCode

Document = Mapping[str, Any]
NAV = ReasonCode.NAV_NOT_POSITIVE.value


def view(portfolio: str, document: Document, *, usual: bool) -> dict[str, Any]:
    """usual : whether the share of a day's volume that is sold is the one that explanations speak of"""
    of = Figures(portfolio, document["session"], linked=usual)
    plain = Figures(portfolio, document["session"], linked=False)
    items = sorted(document["items"], key=lambda item: (item["days"] is None, -(item["days"] or 0.0)))
    return {
        "share": round(100 * document["share"], 2),
        "figures": _figures(of, document),
        "rows": [
            {
                "symbol": item["symbol"],
                "quantity": formats.quantity(item["quantity"]),
                "weight": plain.percent("weight", item["weight"], 1, reason=NAV),
                "adv": of.of(_name(item, "adv"), item["adv"], formats.whole, reason=item["reason"]),
                "share_of_adv": plain.percent("share_of_adv", item["share_of_adv"], 1, reason=item["reason"]),
                "days": of.number(_name(item, "days"), item["days"], 1, reason=item["reason"]),
                "reason": item["reason"],
            }
            for item in items
        ],
        "unknown": [each for each in of_part(document["reasons"], "liquidity.") if not document["items"]],
    }


def _figures(of: Figures, document: Document) -> list[tuple[str, Figure]]:
    # Where nothing is known, every holding says why; the first speaks for all.
    why = by_figure(document["reasons"]).get("liquidity.days") or next(
        (item["reason"] for item in document["items"] if item["reason"]), None
    )
    within = [
        (
            ngettext("Sold within a session", "Sold within {count} sessions", item["sessions"]).format(
                count=item["sessions"]
            ),
            of.percent(f"liquidity.within.{item['sessions']}", item["share"], 1, reason=why),
        )
        for item in document["within"]
    ]
    return [
        (_("Sessions until all that is known is sold"), of.number("liquidity.days", document["days"], 1, reason=why)),
        *within,
        (
            _("Not known, of gross value"),
            of.percent("liquidity.unknown_share", document["unknown_share"], 1, reason=why),
        ),
    ]


def _name(item: Document, column: str) -> str:
    return f"liquidity.positions.{item['symbol']}.{column}"
