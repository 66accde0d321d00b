"""Characters that act on what shows a text instead of standing in it: they clear a terminal, reverse a line, or hide.

One place says which. People's words are refused with one of them (`unprintable`, where a request comes in); vendors' words,
which nobody can be asked to mend, are stored without (`printable`).
"""

from __future__ import annotations

import re

# Controls (C0 but tab and line ends, DEL, C1), half characters, marks that set the direction, and what has no width or breaks
# lines without being one. A joiner is refused only beside Latin: between letters of Persian or the parts of an emoji it is spelling.
_BEYOND_LATIN = "\u0370-\u1fff\u2070-\ud7ff\uf900-\ufdff\ufe00-\ufefe\uff00-\uffef\U00010000-\U000dffff"
_ACTS = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff"
    "\u00ad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\U000e0000-\U000e0fff]"
    "|\r(?!\n)"
    f"|(?<![{_BEYOND_LATIN}])[\u200c\u200d]|[\u200c\u200d](?![{_BEYOND_LATIN}])"
)
_BREAKS = re.compile("[\t\r\n]")


def unprintable(text: str, *, lines: bool) -> str | None:
    """The first character of a text that no name or note may hold, as `U+001B`; None where there is none.

    lines : the text may have tabs and several lines
    """
    found = _ACTS.search(text) or (None if lines else _BREAKS.search(text))
    return None if found is None else f"U+{ord(found.group()):04X}"


def printable(text: str) -> str:
    """A text without those characters, on as many lines as it had."""
    return _ACTS.sub("", text)
