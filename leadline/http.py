"""The HTTP API as the command line sees it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

import httpx2

from leadline.servers import find_token

PREFIX = "/api/v1"
DEFAULT_URL = "http://127.0.0.1:8000"
# Creating 50,000 positions takes seconds; a server that says nothing for a minute is gone.
TIMEOUT_SECONDS = 60.0


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


class Client:
    """Calls the API and returns its JSON. `LEADLINE_URL` and `LEADLINE_TOKEN` are the defaults; without a token, that of the
    embedded server at the address, if it is this user's."""

    def __init__(
        self, url: str | None = None, token: str | None = None, *, transport: httpx2.BaseTransport | None = None
    ) -> None:
        self.url = (url or os.environ.get("LEADLINE_URL") or DEFAULT_URL).rstrip("/")
        token = token or os.environ.get("LEADLINE_TOKEN") or find_token(self.url)
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._http = httpx2.Client(
            base_url=self.url + PREFIX, headers=headers, timeout=TIMEOUT_SECONDS, transport=transport
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.close()

    def get(self, path: str, **params: object) -> Any:
        return self._call("GET", path, params=_given(params))

    def find(self, path: str, **params: object) -> Any:
        """Like `get`, but None where nothing is there yet, or of a symbol without a price. Any other failure is one."""
        try:
            return self.get(path, **params)
        except Failed as error:
            if error.status == 404 and error.code in ("", "not_found", "no_price"):
                return None
            raise

    def post(
        self,
        path: str,
        *,
        params: Mapping[str, object] | None = None,
        data: Mapping[str, str] | None = None,
        files: Mapping[str, tuple[str, bytes, str]] | None = None,
        json: Any = None,
    ) -> Any:
        return self._call("POST", path, params=_given(params or {}), data=data, files=files, json=json)

    def patch(self, path: str, *, json: Any) -> Any:
        return self._call("PATCH", path, json=json)

    def put(self, path: str, *, params: Mapping[str, object] | None = None, json: Any) -> Any:
        return self._call("PUT", path, params=_given(params or {}), json=json)

    def delete(self, path: str) -> Any:
        return self._call("DELETE", path)

    def pages(self, path: str, **params: object) -> list[dict[str, Any]]:
        """All items of a paged list."""
        items: list[dict[str, Any]] = []
        cursor: object = None
        while True:
            page = self.get(path, cursor=cursor, **params)
            items += page["items"]
            cursor = page["next"]
            if cursor is None:
                return items

    def _call(self, method: str, path: str, **arguments: Any) -> Any:
        try:
            answer = self._http.request(method, path, **arguments)
        except httpx2.TransportError as error:
            raise Failed(
                f"No answer from {self.url} ({error}). Start the server with 'leadline up', or set LEADLINE_URL."
            ) from error
        if answer.is_success:
            return answer.json() if answer.content else None
        raise _failure(answer)


def _failure(answer: httpx2.Response) -> Failed:
    try:
        body = answer.json()
    except ValueError:
        body = None
    if not isinstance(body, dict):
        return Failed(f"The server answered {answer.status_code} {answer.reason_phrase}.", status=answer.status_code)
    return Failed(str(body.get("detail") or body), status=answer.status_code, body=body)


def _given(params: Mapping[str, object]) -> dict[str, str | list[str]]:
    """What was given, as text; a list is the parameter repeated."""
    return {
        key: [str(item) for item in value] if isinstance(value, list) else str(value)
        for key, value in params.items()
        if value is not None
    }
