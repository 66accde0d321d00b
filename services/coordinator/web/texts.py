"""Texts for people: one catalogue, English in the source. Which language is spoken is a matter of the request."""

from __future__ import annotations

from contextvars import ContextVar
from functools import cache
from pathlib import Path

from babel import Locale
from babel.support import NullTranslations, Translations

LOCALES = Path(__file__).parent / "locale"
DOMAIN = "messages"
ENGLISH = Locale("en", "US")

_spoken: ContextVar[Locale] = ContextVar("page_locale", default=ENGLISH)


def locale() -> Locale:
    return _spoken.get()


def speak(accepted: str) -> None:
    """Choose the first language of an Accept-Language header that there is a catalogue for; English otherwise."""
    wanted = [part.partition(";")[0].strip() for part in accepted.split(",")]
    known = [path.name for path in LOCALES.iterdir() if path.is_dir()] if LOCALES.is_dir() else []
    chosen = next((name for tag in wanted for name in known if tag.replace("-", "_").startswith(name)), None)
    _spoken.set(Locale.parse(chosen) if chosen else ENGLISH)


@cache
def _catalogue(language: str) -> NullTranslations:
    return Translations.load(LOCALES, [language], DOMAIN)


def gettext(message: str) -> str:
    return str(_catalogue(str(locale())).ugettext(message))


def ngettext(singular: str, plural: str, count: int) -> str:
    return str(_catalogue(str(locale())).ungettext(singular, plural, count))
