"""What a file is whose name says that it is a CSV: a page of a website that was saved, a workbook, an archive."""

from __future__ import annotations

_MAGIC: tuple[tuple[bytes, str], ...] = (
    (b"PK\x03\x04", "an Excel workbook or another ZIP archive"),
    (b"\xd0\xcf\x11\xe0", "an old Excel workbook"),
    (b"\x1f\x8b", "compressed (gzip)"),
    (b"%PDF", "a PDF"),
    (b"PAR1", "a Parquet file"),
    (b"\xff\xfe", "UTF-16 text"),
    (b"\xfe\xff", "UTF-16 text"),
)
_PAGES = ("<!doctype html", "<html", "<head", "<body", "<?xml", "<!--", "<script", "<table")
_REMEDIES = {
    "a web page (HTML)": "open the address in a browser, see what it says, and save the data itself",
    "JSON": "write it as a table, with a header row and a row for each record",
    "UTF-16 text": "save it as CSV UTF-8",
    "compressed (gzip)": "unpack it first",
    "a Parquet file": "give its name the ending .parquet",
}


def other_kind(head: bytes) -> str | None:
    """What a file is instead of a CSV, and what to do, as `a web page (HTML); open …`; None where nothing speaks against a CSV.

    head : the first bytes, some hundred are enough
    """
    for magic, kind in _MAGIC:
        if head.startswith(magic):
            return _advice(kind)
    text = head.decode("utf-8-sig", errors="replace").lstrip().lower()
    if text.startswith(_PAGES):
        return _advice("a web page (HTML)")
    if text.startswith(("{", '[{"', "[ {", "[[", "[{")):
        return _advice("JSON")
    return None


def _advice(kind: str) -> str:
    return f"{kind}; {_REMEDIES.get(kind, 'save the sheet as CSV UTF-8')}"
