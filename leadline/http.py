"""The HTTP API as the command line sees it."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self
from uuid import uuid4

# Loaded by the first client: `leadline --help` calls nobody, and would wait for it as long as for everything else.
if TYPE_CHECKING:
    import httpx2

from leadline.errors import Failed, NoAnswer, Unauthorised, of_status
from leadline.servers import find_token

__all__ = ["Client", "Failed"]

PREFIX = "/api/v1"
DEFAULT_URL = "http://127.0.0.1:8000"
# Creating 50,000 positions takes seconds; a server that says nothing for a minute is gone.
TIMEOUT_SECONDS = 60.0


# Refused before anything was done: the same may be asked again.
RETRIED = (429, 503)
FIRST_DELAY_SECONDS, LONGEST_DELAY_SECONDS = 0.25, 30.0


def retry_delay(attempt: int, answer: httpx2.Response | None) -> float | None:
    """Seconds to wait before asking again; None where asking again is of no use.

    attempt : 0 for the first
    answer : None where none came
    """
    backoff: float = min(FIRST_DELAY_SECONDS * 2**attempt, LONGEST_DELAY_SECONDS) * random.uniform(0.75, 1.25)
    if answer is None:
        return backoff
    if answer.status_code not in RETRIED:
        return None
    wanted: str = answer.headers.get("retry-after", "")
    if not wanted.isascii() or not wanted.isdigit():
        return backoff
    # Whoever is asked to come back much later is told instead of being kept.
    return max(backoff, float(wanted)) if float(wanted) <= LONGEST_DELAY_SECONDS else None


def headers_for(method: str, *, attempts: int) -> dict[str, str]:
    """A write that may be sent twice has a key, so that it happens once."""
    return {} if method == "GET" or attempts == 1 else {"Idempotency-Key": str(uuid4())}


def access(url: str | None, token: str | None) -> tuple[str, dict[str, str]]:
    """The server's address and the header of the token; `LEADLINE_URL` and `LEADLINE_TOKEN` are the defaults, and without a token
    that of the embedded server at the address, if it is this user's."""
    address = (url or os.environ.get("LEADLINE_URL") or DEFAULT_URL).rstrip("/")
    token = token or _token_set() or find_token(address)
    return address, {"Authorization": f"Bearer {token}"} if token else {}


def _token_set() -> str:
    """`LEADLINE_TOKEN`, or what the file holds that `LEADLINE_TOKEN_FILE` names."""
    given, path = os.environ.get("LEADLINE_TOKEN", ""), os.environ.get("LEADLINE_TOKEN_FILE", "")
    if given or not path:
        return given
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise Unauthorised(f"LEADLINE_TOKEN_FILE names {path}, which cannot be read: {error}") from error


def needs_certificates(url: str) -> bool:
    """Whether anything is encrypted on the way. To read what is trusted takes a fortieth of a second, a tenth of many a command."""
    from urllib.request import getproxies

    return not url.startswith("http://") or bool(getproxies())


class Client:
    """Calls the API and returns its JSON. `LEADLINE_URL` and `LEADLINE_TOKEN` are the defaults; without a token, that of the
    embedded server at the address, if it is this user's."""

    def __init__(
        self,
        url: str | None = None,
        token: str | None = None,
        *,
        attempts: int = 1,
        transport: httpx2.BaseTransport | None = None,
    ) -> None:
        """attempts : how often a call is made while no answer comes or the answer is 429 or 503"""
        import httpx2

        self.url, headers = access(url, token)
        self._attempts = attempts
        self._http = httpx2.Client(
            base_url=self.url + PREFIX,
            headers=headers,
            timeout=TIMEOUT_SECONDS,
            transport=transport,
            verify=needs_certificates(self.url),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.close()

    def get(self, path: str, **params: object) -> Any:
        return self._call("GET", path, params=to_query(params))

    def find(self, path: str, **params: object) -> Any:
        """Like `get`, but None where nothing is there yet, or no more, or of a symbol without a price. Any other failure is one."""
        try:
            return self.get(path, **params)
        except Failed as error:
            if error.status == 404 and error.code in ("", "not_found", "no_price", "thinned_out"):
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
        return self._call("POST", path, params=to_query(params or {}), data=data, files=files, json=json)

    def patch(self, path: str, *, params: Mapping[str, object] | None = None, json: Any) -> Any:
        return self._call("PATCH", path, params=to_query(params or {}), json=json)

    def put(self, path: str, *, params: Mapping[str, object] | None = None, json: Any) -> Any:
        return self._call("PUT", path, params=to_query(params or {}), json=json)

    def delete(self, path: str, *, params: Mapping[str, object] | None = None) -> Any:
        return self._call("DELETE", path, params=to_query(params or {}))

    def page(self, path: str, **params: object) -> str:
        """The text of one of the server's pages, which stand beside the API."""
        return self._answer("GET", self.url + path, params=to_query(params)).text

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
        answer = self._answer(method, path, **arguments)
        return answer.json() if answer.content else None

    def _answer(self, method: str, path: str, **arguments: Any) -> httpx2.Response:
        import httpx2

        keyed = headers_for(method, attempts=self._attempts)
        attempt = 0
        while True:
            answer: httpx2.Response | None = None
            try:
                answer = self._http.request(method, path, headers=keyed, **arguments)
            except httpx2.TransportError as error:
                if attempt + 1 >= self._attempts:
                    raise no_answer(self.url, error) from error
            if answer is not None and answer.is_success:
                return answer
            delay = retry_delay(attempt, answer) if attempt + 1 < self._attempts else None
            if delay is None:
                assert answer is not None
                raise failure(answer)
            attempt += 1
            time.sleep(delay)


def no_answer(url: str, error: Exception) -> NoAnswer:
    return NoAnswer(f"No answer from {url} ({error}). Start the server with 'leadline up', or set LEADLINE_URL.")


def failure(answer: httpx2.Response) -> Failed:
    """What an answer that is no success says, as the error of its status."""
    kind = of_status(answer.status_code)
    try:
        body = answer.json()
    except ValueError:
        body = None
    if not isinstance(body, dict):
        return kind(f"The server answered {answer.status_code} {answer.reason_phrase}.", status=answer.status_code)
    return kind(str(body.get("detail") or body), status=answer.status_code, body=body)


def to_query(params: Mapping[str, object]) -> dict[str, str | list[str]]:
    """What was given, as text; a list is the parameter repeated."""
    return {
        key: [str(item) for item in value] if isinstance(value, list) else str(value)
        for key, value in params.items()
        if value is not None
    }
