"""The vendor's own client on our transport: its paths and parameters, our bounds, gate, origin and typed errors.

Only the endpoints are the client's. Its pages and models are not used: they take a page without `results` for the end of the list, and a
field that is missing for one that is null. `raw` hands on what came, and `payload.Record` reads it.
"""

from collections.abc import Mapping
from typing import Any

from massive import RESTClient

from services.ingest.providers.transport.http import Parameters, ProviderHttp

# The key is in our transport's header; the client sends nothing.
_NO_KEY = "in the transport"


class Document:
    """What the client takes for a response. `read` is the parsed body."""

    status = 200

    def __init__(self, read: Any) -> None:
        self.read = read


class Pool:
    """Stands for `urllib3.PoolManager`, of which the client uses one method."""

    def __init__(self, http: ProviderHttp, base: str) -> None:
        self._http = http
        self._base = base

    def request(
        self, method: str, url: str, fields: Parameters | None = None, headers: Mapping[str, str] | None = None
    ) -> Document:
        """Raises `ProviderError`, which the client lets pass."""
        assert method == "GET"
        assert url.startswith(self._base)
        assert headers is not None
        return Document(self._http.get(url[len(self._base) :], fields))


class Client(RESTClient):  # type: ignore[misc]  # the package has no types
    """`RESTClient.client` is public, and an implementation detail: the package is pinned to its second version."""

    def __init__(self, http: ProviderHttp) -> None:
        super().__init__(_NO_KEY, base=http.base, retries=0, pagination=False)
        self.client = self.vx.client = Pool(http, http.base)
