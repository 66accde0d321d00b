"""Which characters no name may hold, and how they are left out of what cannot be refused."""

from __future__ import annotations

import unicodedata

import pytest

from leadline.tables.text import safe
from services.ingest.model.market import Listing, Profile
from shared.text import printable, unprintable

JOINERS = "\u200c\u200d"
# Of category Cf and yet part of a text: signs that span numbers of Arabic, Syriac and Kaithi, and of notation.
SIGNS = {0x600, 0x601, 0x602, 0x603, 0x604, 0x605, 0x6DD, 0x70F, 0x890, 0x891, 0x8E2, 0x110BD, 0x110CD}


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("a\x1b[2J", "U+001B"), ("a\x07", "U+0007"), ("\x00", "U+0000"), ("a\x9b2J", "U+009B"), ("\x7f", "U+007F"), ("a\rb", "U+000D"),
        ("a\u202eb", "U+202E"), ("a\u2067b", "U+2067"), ("a\u200bb", "U+200B"), ("a\u200db", "U+200D"), ("\ufeffa", "U+FEFF"),
        ("a\u2028b", "U+2028"), ("a\U000e0041", "U+E0041"), ("\ud800", "U+D800"), ("a\u00adb", "U+00AD"), ("\u200d👩", "U+200D"),
    ],
)  # fmt: skip
def test_the_first_that_acts_is_named(text: str, found: str) -> None:
    assert unprintable(text, lines=True) == unprintable(text, lines=False) == found
    assert unprintable(printable(text), lines=True) is None


@pytest.mark.parametrize(
    "text",
    [
        "Müller & Söhne",
        "日本株",
        "שלום",
        "مرحبا",
        "می\u200cخواهم",
        "👨\u200d👩\u200d👧",
        "❤\ufe0f\u200d🔥",
        "क्\u200dष",
        "e\u0301",
        "",
    ],
)
def test_words_of_any_language_pass(text: str) -> None:
    assert unprintable(text, lines=False) is None
    assert printable(text) == text


def test_lines_and_tabs_are_for_notes() -> None:
    for text, found in (("a\nb", "U+000A"), ("a\tb", "U+0009"), ("a\r\nb", "U+000D")):
        assert unprintable(text, lines=True) is None
        assert unprintable(text, lines=False) == found
        assert printable(text) == safe(text) == text


def test_nothing_that_unicode_calls_a_control_or_a_format_is_forgotten() -> None:
    """Controls, surrogates, format characters and separators of lines, of the whole of Unicode's first plane."""
    kinds = {"Cc", "Cs", "Cf", "Zl", "Zp"}
    expected = {at for at in range(0x10000) if unicodedata.category(chr(at)) in kinds} - SIGNS - {9, 10, 13}
    joiners = {ord(each) for each in JOINERS}
    # U+2065 is not assigned, and in the middle of those that are.
    assert {at for at in range(0x10000) if unprintable(f"a{chr(at)}b", lines=True)} - {13, 0x2065} == expected
    # The console's own rule lets joiners be: they move nothing.
    assert {at for at in range(0x10000) if safe(chr(at)) != chr(at)} - {13, 0x2065} == expected - joiners


def test_a_vendors_and_a_files_words_are_kept_without() -> None:
    profile = Profile(name="Evil\x1b]0;x\x07 Corp", sector="Tech\u202e", industry="\x1b", currency="USD", exchange=None)
    assert (profile.name, profile.sector, profile.industry, profile.currency) == ("Evil]0;x Corp", "Tech", None, "USD")
    assert Listing("X", name="A\u200bB", exchange="\x9bN").name == "AB"
