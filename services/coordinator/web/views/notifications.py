"""Limits and webhooks as settings list them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote
from uuid import UUID

from services.coordinator.notifications.model import Limit, LimitState, Standing, Webhook
from services.coordinator.web import formats
from services.coordinator.web.texts import gettext as _

SHOWN = 20


def limits(limits: Sequence[Limit], standings: Sequence[Standing], names: Mapping[UUID, str]) -> list[dict[str, Any]]:
    """Breached ones first; of each the portfolios that breach it, with the figure as a link to its explanation."""
    rows = []
    for limit in limits:
        own = [of for of in standings if of.limit == limit.id]
        breached = [of for of in own if of.state is LimitState.BREACHED]
        unknown = sum(of.reading.value is None for of in own)
        rows.append(
            {
                "id": str(limit.id),
                "name": limit.name,
                "rule": f"{limit.figure} {limit.op.value} {limit.value:g}",
                "scope": _("every portfolio") if limit.portfolio is None else names.get(limit.portfolio, "–"),
                "breached": [_standing_row(limit, of, names) for of in breached[:SHOWN]],
                "more": max(0, len(breached) - SHOWN),
                "read": bool(own),
                "unknown": unknown,
            }
        )
    return sorted(rows, key=lambda row: not row["breached"])


def _standing_row(limit: Limit, of: Standing, names: Mapping[UUID, str]) -> dict[str, Any]:
    session = of.reading.session
    page = f"/p/{of.portfolio}"
    explained = session is not None and not limit.figure.startswith("status.")
    href = f"{page}/explain?figure={quote(limit.figure)}&session={session}" if explained else f"{page}/data"
    return {
        "portfolio": names.get(of.portfolio, "–"),
        "href": href,
        "value": of.reading.value,
        "since": formats.instant(of.since),
    }


def webhooks(found: Sequence[Webhook]) -> list[dict[str, Any]]:
    return [
        {
            "id": str(each.id),
            "name": each.name,
            "url": each.url,
            "arrived": _("never") if each.delivered_at is None else formats.instant(each.delivered_at),
            "pending": each.pending,
            "error": each.last_error,
        }
        for each in found
    ]
