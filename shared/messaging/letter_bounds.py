"""How much of a message a dead letter keeps, whoever sent it."""

from __future__ import annotations

from collections.abc import Mapping

# What the outbox takes.
MAX_PAYLOAD_BYTES = 65_536
# A body beyond it was not ours and cannot be sent again: its hash and its beginning tell what it was. One byte more than the outbox
# takes, so that what is cut is never replayed as if it were whole.
MAX_BODY_BYTES = MAX_PAYLOAD_BYTES + 1
MAX_HEADERS, MAX_HEADER_CHARACTERS = 64, 8_192


def bounded_body(body: bytes | None, error: str) -> tuple[bytes | None, str]:
    """What is kept of a body, and what is said beside it where that is not all."""
    if body is None or len(body) <= MAX_BODY_BYTES:
        return body, error
    return body[:MAX_BODY_BYTES], f"{error} (the body has {len(body)} bytes; the first {MAX_BODY_BYTES} are kept)"


def bounded_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """What is kept of a message's headers: ours first, then the others in their order. A NUL is valid UTF-8 and not in jsonb."""
    ordered = sorted(headers.items(), key=lambda header: not header[0].startswith("ce_"))[:MAX_HEADERS]
    return {
        name[:MAX_HEADER_CHARACTERS].replace("\x00", "\\0"): value[:MAX_HEADER_CHARACTERS].replace("\x00", "\\0")
        for name, value in ordered
    }
