"""What Yahoo lists of payments: their currency, which neither library hands on."""

import logging
from typing import Any
from zoneinfo import ZoneInfo

from services.ingest.model.market import CURRENCY, LeftOut
from services.ingest.providers.transport.payload import Record

_NEW_YORK = ZoneInfo("America/New_York")
_PAYMENTS = ("dividends", "capitalGains")

log = logging.getLogger(__name__)


def take_foreign(provider: str, chart: dict[str, Any]) -> tuple[LeftOut, ...] | None:
    """Take payments in another currency than ours out of a chart, in place, and the currency of the others; None if none has one.

    yfinance drops a dividend's currency and pays it as dollars, and cannot read a capital gain that has one. Raises `SchemaChanged`.
    """
    events: Any = chart.get("events")
    left_out, found = [], False
    for kind in _PAYMENTS if isinstance(events, dict) else ():
        listed: Any = events.get(kind)
        for key in list(listed) if isinstance(listed, dict) else ():
            event = listed[key]
            if not isinstance(event, dict) or "currency" not in event:
                continue
            found = True
            payment = Record(provider, f"chart.events.{kind}", event)
            currency = payment.opt_text("currency")
            del event["currency"]
            # GBp is a hundredth of GBP, so case matters abroad; ours is told in capitals.
            if currency is None or currency == CURRENCY:
                continue
            day = payment.epoch("date").astimezone(_NEW_YORK).date()
            left_out.append(LeftOut(day, payment.number("amount"), currency))
            del listed[key]
            log.warning(
                "%s: a payment of %s on %s was left out: it is in %s, and nothing is converted",
                provider, (chart.get("meta") or {}).get("symbol"), day, currency,
            )  # fmt: skip
        if isinstance(listed, dict) and not listed:
            del events[kind]
    return tuple(left_out) if found else None
