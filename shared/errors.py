"""Errors, sorted by what the caller does next.

Every error has a machine-readable `code` and a message that names the thing and the remedy. `TransientError` means: the same
call may succeed later, try again. `PermanentError` means: it will fail the same way every time, record it and go on.
"""

from __future__ import annotations


class LeadlineError(Exception):
    """Base of all errors this project raises on purpose."""

    code: str = "error"

    def __init__(self, message: str, *, code: str | None = None) -> None:
        super().__init__(message)
        if code is not None:
            self.code = code


class TransientError(LeadlineError):
    """May succeed later: retry with a delay, then leave it to the reconciler."""

    code = "transient"


class PermanentError(LeadlineError):
    """Fails the same way every time: record it, acknowledge, tell somebody."""

    code = "permanent"


class ConfigurationError(PermanentError):
    """The process cannot start as it was asked to."""

    code = "configuration"


class UnreadableMessage(PermanentError):
    """A message that no retry will make readable; it belongs in the dead letters."""

    code = "unreadable_message"


def sanitize_text(words: str, most: int) -> str:
    """Words of an error as the database takes them: without NUL and half characters, no longer than `most` characters."""
    plain = words[:most].replace("\x00", "\\0").encode(errors="backslashreplace").decode()
    return plain[:most]
