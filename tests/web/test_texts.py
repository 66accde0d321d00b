"""Texts stand in one catalogue, and another language needs nothing but its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from babel.messages.catalog import Catalog
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po

from services.coordinator.web import formats, texts
from services.coordinator.web.rendering import text_of
from services.coordinator.web.views import reasons
from shared.market import reasons as registry

ROOT = Path(__file__).parents[2]
WEB = Path("services/coordinator/web")
EXTRACT = (
    "extract --no-location --omit-header --sort-output -k _ -k ngettext:1,2"
    f" -F {WEB}/locale/babel.cfg -o {{target}} {WEB}"
)


def test_the_catalogue_is_the_one_of_the_sources(tmp_path: Path) -> None:
    """Extracted again with the command of babel.cfg it is the same; after a change of texts run that command."""
    target = tmp_path / "messages.pot"
    command = [sys.executable, "-m", "babel.messages.frontend", "-q", *EXTRACT.format(target=target).split()]
    subprocess.run(command, cwd=ROOT, check=True)
    with target.open("rb") as fresh, (ROOT / WEB / "locale" / "messages.pot").open("rb") as kept:
        expected, stored = read_po(fresh), read_po(kept)
    assert {message.id for message in stored} == {message.id for message in expected}
    assert len(stored) > 300


def test_a_language_with_a_catalogue_is_spoken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    catalogue = Catalog(locale="de")
    catalogue.add("Not measured:", "Nicht gemessen:")
    catalogue.add("To the portfolios", "Zu den Portfolios")
    where = tmp_path / "de" / "LC_MESSAGES"
    where.mkdir(parents=True)
    with (where / "messages.mo").open("wb") as file:
        write_mo(file, catalogue)
    monkeypatch.setattr(texts, "LOCALES", tmp_path)
    texts._catalogue.cache_clear()
    before = texts._spoken.set(texts.ENGLISH)
    try:
        texts.speak("fr, de-AT;q=0.8, en;q=0.5")
        assert texts.gettext("To the portfolios") == "Zu den Portfolios"
        # Numbers follow the language.
        assert formats.money(1234.5) == "1.234,50"
        shown = text_of(
            "refused.html",
            what="x",
            detail="y",
            errors=[],
            path="/",
            as_of="",
            signed_in=False,
            notice="",
            language="de",
        )
        assert "Zu den Portfolios" in shown
        texts.speak("fr")
        assert texts.gettext("To the portfolios") == "To the portfolios"
        assert formats.money(1234.5) == "1,234.50"
    finally:
        texts._spoken.reset(before)
        texts._catalogue.cache_clear()


def test_a_reason_without_words_of_the_page_has_those_of_the_registry() -> None:
    mismatch = reasons.reason("price_basis_mismatch")
    assert mismatch.needs_you
    assert mismatch.means == registry.info("price_basis_mismatch").meaning
    assert not reasons.reason("price_spike").needs_you
    assert reasons.reason("of_tomorrow").means == "of tomorrow"
