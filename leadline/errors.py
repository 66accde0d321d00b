"""Calls that did not succeed, by what there is to do about it. All are `Failed`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class Failed(Exception):
    """A call that did not succeed. `status` is 0 where no answer came; `errors` lists bad fields.

    `document` is the API's problem document, or one of the same shape where no such answer came.
    """

    def __init__(self, message: str, *, status: int = 0, body: Mapping[str, Any] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = str((body or {}).get("code") or "")
        self.errors: list[dict[str, Any]] = list((body or {}).get("errors") or [])
        self.document: dict[str, Any] = (
            dict(body)
            if body
            else {
                "type": "about:blank",
                "title": "Failed" if status else "No answer",
                "status": status or None,
                "detail": message,
                "code": "failed" if status else "no_answer",
            }
        )


class NoAnswer(Failed):
    """The server was not reached, or did not answer in time."""


class Unauthorised(Failed):
    """No token, a wrong one, or one that may not do this."""


class NotFound(Failed):
    """There is nothing of that name, or nothing yet."""


class Conflict(Failed):
    """What is there does not allow it, such as a name that is taken."""


class Invalid(Failed):
    """What was sent is refused; `errors` says row, column, code and message."""


class TooManyRequests(Failed):
    """Asked too often; later it is answered."""


class ServerFailed(Failed):
    """The server failed or is not ready."""


class Blocked(Failed):
    """Waiting does not end: units are blocked and somebody is needed. `document` is the portfolio's status."""


class NotInTime(Failed):
    """Still not complete when the time to wait was over. `document` is the portfolio's status."""


_OF_STATUS = {
    0: NoAnswer, 400: Invalid, 401: Unauthorised, 403: Unauthorised, 404: NotFound, 409: Conflict, 412: Conflict, 413: Invalid,
    415: Invalid, 422: Invalid, 429: TooManyRequests,
}  # fmt: skip


def of_status(status: int) -> type[Failed]:
    return ServerFailed if status >= 500 else _OF_STATUS.get(status, Failed)
