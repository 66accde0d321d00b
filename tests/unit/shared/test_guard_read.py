"""What the guard makes of bytes and headers that anybody may have sent."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiokafka import ConsumerRecord
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import UnreadableMessage
from shared.messaging.broker import _tolerant_parser
from shared.messaging.retry_middleware import MAX_BODY_BYTES, _printable_identifier, parse_message

TYPE = {"ce_type": "leadline.DateDue.v1"}

MALFORMED: dict[str, tuple[dict[str, str], bytes | None, str]] = {
    "no type": ({}, b"{}", "no_type"),
    "somebody else's type": ({"ce_type": "shop.OrderPlaced.v1"}, b"{}", "unknown_type"),
    "unknown type": ({"ce_type": "leadline.DateDo.v1"}, b"{}", "unknown_type"),
    "no version": ({"ce_type": "leadline.DateDue"}, b"{}", "unknown_type"),
    "empty type": ({"ce_type": ""}, b"{}", "unknown_type"),
    "undecodable type": ({"ce_type": "leadline.DateDue.v�"}, b"{}", "unknown_type"),
    "superscript version": ({"ce_type": "leadline.DateDue.v²"}, b"{}", "unknown_type"),
    "version of many digits": ({"ce_type": "leadline.DateDue.v" + "1" * 5_000}, b"{}", "unknown_type"),
    "next major version": ({"ce_type": "leadline.DateDue.v2"}, b"{}", "unknown_version"),
    "version nought": ({"ce_type": "leadline.DateDue.v0"}, b"{}", "unknown_version"),
    "tombstone": (TYPE, None, "empty_body"),
    "empty": (TYPE, b"", "empty_body"),
    "oversized": (TYPE, b"{" + b" " * MAX_BODY_BYTES + b"}", "oversized"),
    "truncated": (TYPE, b'{"work": {"portf', "not_json"),
    "binary": (TYPE, bytes(range(256)), "not_json"),
    "undecodable": (TYPE, b'{"a": "\xff\xfe"}', "not_json"),
    "trailing garbage": (TYPE, b"{} {}", "not_json"),
    "nan": (TYPE, b'{"a": NaN}', "not_json"),
    "nested nan": (TYPE, b'{"a": [{"b": NaN}]}', "not_json"),
    "infinity": (TYPE, b'{"a": -Infinity}', "not_json"),
    "deep": (TYPE, b"[" * 200_000, "not_json"),
    "number of many digits": (TYPE, b'{"a": ' + b"9" * 10_000 + b"}", "not_json"),
    "list": (TYPE, b"[]", "not_an_object"),
    "string": (TYPE, b'"x"', "not_an_object"),
    "null": (TYPE, b"null", "not_an_object"),
}


@pytest.mark.parametrize("kind", MALFORMED)
def test_malformed_messages_are_named(kind: str) -> None:
    headers, body, code = MALFORMED[kind]
    with pytest.raises(UnreadableMessage) as caught:
        parse_message(headers, body)
    assert caught.value.code == code
    assert len(str(caught.value)) < 500


def test_a_good_message_is_its_name_and_object() -> None:
    assert parse_message(TYPE, b'{"work": {}, "new": [1]}') == ("DateDue", {"work": {}, "new": [1]})


@given(
    headers=st.dictionaries(st.sampled_from(["ce_type", "ce_id", "correlation_id"]), st.text()),
    typed=st.booleans(),
    body=st.one_of(
        st.none(),
        st.binary(),
        st.recursive(
            st.none() | st.floats() | st.text(),
            lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
            max_leaves=8,
        ).map(lambda value: json.dumps(value).encode()),
    ),
)
def test_nothing_but_unreadable_message_comes_out(headers: dict[str, str], typed: bool, body: bytes | None) -> None:
    """Any other error would leave the guard, be acknowledged negatively, and block the partition for ever."""
    refused = None
    try:
        name, document = parse_message({**headers, **TYPE} if typed else headers, body)
    except UnreadableMessage as error:
        refused = error.code
    else:
        assert name == "DateDue"
        assert isinstance(document, dict)
    assert refused != UnreadableMessage.code, "every refusal has a code of its own"


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        ("0191e7c5-12", "0191e7c5-12"),
        (None, None),
        ("", None),
        ("a\x00b", None),
        ("ü", None),
        ("x" * 129, None),
        ("line\nbreak", None),
    ],
)
def test_only_plain_identifiers_are_passed_on(value: str | None, kept: str | None) -> None:
    assert _printable_identifier(value) == kept


@dataclass
class Parsed:
    headers: dict[str, str] = field(default_factory=dict)


async def _framework(message: Any) -> Parsed:
    """What the framework's parser does with headers."""
    return Parsed({name: value.decode() for name, value in message.headers})


@pytest.mark.parametrize(
    ("raw", "parsed"),
    [
        ([("ce_type", b"leadline.DateDue.v1")], {"ce_type": "leadline.DateDue.v1"}),
        ([("ce_type", b"\xff\xfe")], {"ce_type": "��"}),
        ([("ce_type", b"x"), ("note", None)], {"ce_type": "x", "note": ""}),
    ],
    ids=["good", "not utf-8", "null"],
)
async def test_headers_are_read_whatever_they_hold(raw: list[tuple[str, bytes | None]], parsed: dict[str, str]) -> None:
    record: ConsumerRecord[Any, Any] = ConsumerRecord("t", 0, 0, 0, 0, None, b"{}", None, 0, 2, raw)
    assert (await _tolerant_parser(record, _framework)).headers == parsed
