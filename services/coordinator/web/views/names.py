"""Names of factors, phases, methods and the like, as people read them."""

from __future__ import annotations

from services.coordinator.web.texts import gettext as _


def label(name: str) -> str:
    known = {
        "market": _("Market"),
        "market_beta": _("Market beta"),
        "market_beta_shrunk": _("Market beta, shrunk"),
        "ir_beta": _("Interest-rate beta"),
        "low_volatility": _("Low volatility"),
        "rates": _("Rates"),
        # The answer's own word for size where its proxy is an index of large and mid caps.
        "low-size tilt": _("Low-size tilt"),
        "historical": _("Historical"),
        "normal": _("Normal"),
        "filtered": _("Filtered by volatility"),
        "combined": _("HAR and EWMA"),
        "har": _("HAR"),
        "ewma": _("EWMA"),
        "answered": _("What was answered"),
        "ingest": _("Prices"),
        "factors": _("Factors"),
        "snapshots": _("Values"),
        "risk": _("Risk"),
    }
    if name in known:
        return known[name]
    if name.startswith("spread_"):
        return _("Spread: {name}").format(name=label(name.removeprefix("spread_")).lower())
    return name.replace("_", " ").capitalize()


def join_names(names: list[str]) -> str:
    return ", ".join(names)
