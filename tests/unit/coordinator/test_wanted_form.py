"""What a request's headers say about the form of its answer, written as clients write them."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic_core import to_json
from starlette.datastructures import Headers

from services.coordinator.api import representation
from services.coordinator.api.representation import AT_ONCE, Encoded, Wanted, encode, render
from services.coordinator.errors import NotAcceptable

TABLE = {"items": [{"name": "=1+1", "value": -0.5, "none": None}], "next": None}


def wanted(*lines: tuple[str, str], method: str = "GET") -> Wanted:
    return Wanted.by(Headers(raw=[(name.lower().encode(), value.encode()) for name, value in lines]), method)


@pytest.mark.parametrize(
    ("accept", "form"),
    [
        ((), "json"),
        (("",), "json"),
        (("*/*",), "json"),
        (("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",), "json"),
        (("text/csv",), "csv"),
        (("TEXT/CSV ; charset=utf-8 ; q=0.7",), "csv"),
        (("text/*",), "csv"),
        (("text/csv, */*",), "csv"),
        (("text/csv;q=0.2, application/json",), "json"),
        (("text/csv", "application/json;q=0.9"), "csv"),
        (("application/json;q=0.9", "text/csv"), "csv"),
        # The narrower says more than the wider, whichever is higher.
        (("text/csv;q=0, text/*, application/json",), "json"),
        (("application/json;q=0, */*",), None),
        (("application/json;q=0.1, */*;q=0.9, text/csv;q=0.5",), "csv"),
        (("application/*;q=0, */*",), None),
        (("text/csv;q=0",), None),
        (("image/png",), None),
        (("application/json;q=2",), None),
        (("application/json;q=nan",), None),
        (("application/json;q=-1",), None),
        (("application/json;q=0.12345",), None),
        (("application/json;q=1.000",), "json"),
        (("application/json;q=0.5;version=1",), "json"),
        ((",,;q=1,application/json",), "json"),
    ],
)
def test_the_form_is_the_best_that_is_accepted(accept: tuple[str, ...], form: str | None) -> None:
    asked = wanted(*(("Accept", line) for line in accept))
    for document in (TABLE, Encoded(to_json(TABLE))):
        if form is None:
            with pytest.raises(NotAcceptable):
                render(document, asked)
        else:
            answer = render(document, asked)
            assert answer.media_type == {"json": "application/json", "csv": "text/csv; charset=utf-8"}[form]
            assert answer.body == {"json": to_json(TABLE), "csv": b"name,value,none\r\n'=1+1,-0.5,\r\n"}[form]


@pytest.mark.parametrize(
    ("said", "large", "small"),
    [
        ((), False, False),
        (("",), False, False),
        (("gzip",), True, False),
        (("GZIP;q=0.5, deflate",), True, False),
        (("deflate, br", "gzip"), True, False),
        (("x-gzip",), True, False),
        (("*",), True, False),
        (("gzip;q=0, *",), False, False),
        (("gzip;q=0.5, identity",), False, False),
        (("gzip, identity;q=0.5",), True, False),
        (("br;q=1.0, *;q=0",), False, False),
        (("gzip, identity;q=0",), True, True),
        (("gzip, *;q=0",), True, True),
        (("gzip;q=high",), False, False),
        (("identity",), False, False),
    ],
)
def test_what_is_large_is_compressed_for_who_reads_it(said: tuple[str, ...], large: bool, small: bool) -> None:
    asked = wanted(*(("Accept-Encoding", line) for line in said))
    for size, compressed in ((2000, large), (3, small)):
        answer = render({"text": "a" * size}, asked)
        assert (answer.headers.get("content-encoding") == "gzip") is compressed
        assert answer.headers["vary"] == "Accept, Accept-Encoding"


def test_a_tag_is_found_in_lists_weak_or_strong_and_over_several_lines() -> None:
    tag = render(TABLE, Wanted()).headers["etag"]
    strong = tag.removeprefix("W/")
    for lines in (
        (tag,), (strong,), (f'"a,b", {tag}',), (f"W/\"x\",{strong},",), ('"other"', tag), ("*",), (" * ",),
    ):  # fmt: skip
        answer = render(TABLE, wanted(*(("If-None-Match", line) for line in lines)))
        assert (answer.status_code, answer.body, answer.headers["etag"]) == (304, b"", tag), lines
        assert answer.headers["vary"] == "Accept, Accept-Encoding"
    for line in ("", '"other"', strong.strip('"'), f"w{tag[1:]}"[:-1], f'"{strong[1:5]}"'):
        assert render(TABLE, wanted(("If-None-Match", line))).status_code == 200, line
    # It is about what a change would do, which is done whatever the client holds; and a new thing is said.
    assert render(TABLE, wanted(("If-None-Match", "*"), method="POST")).status_code == 200
    assert render(TABLE, wanted(("If-None-Match", "*")), 201).status_code == 201


LONG = [{"n": number, "x": number / 7, "of": [None, 'ä\n"', float("inf")]} for number in range(3 * AT_ONCE + 1)]


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"items": LONG, "next": None, "n": {"deep": LONG}, "ü": 1},
        {"items": LONG[:AT_ONCE]},
        {"items": LONG[: AT_ONCE + 1]},
        {"none": [], "nan": float("nan")},
        {1: LONG},
        LONG,
        None,
    ],
)
def test_a_document_encoded_in_parts_is_the_same_to_the_byte(document: object) -> None:
    assert encode(document) == to_json(document, inf_nan_mode="null")


def test_no_part_of_a_long_list_is_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """The encoder keeps the interpreter to itself until it is done."""
    sizes: list[int] = []

    def noted(value: object, **options: Any) -> bytes:
        sizes.append(len(value) if isinstance(value, list) else 0)
        return to_json(value, **options)

    monkeypatch.setattr(representation, "to_json", noted)
    encode({"items": LONG})
    assert max(sizes) == AT_ONCE
