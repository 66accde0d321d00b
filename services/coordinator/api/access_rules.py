"""Which requests are answered at all, decided from the request's head alone, whoever sent it.

A browser is somebody else's tool: any page that is open in it can send requests to this machine, and a name that its owner turns
to 127.0.0.1 makes such a page one of ours. So a request must have been sent to a name of this server, and a change must not come
from another site's page. Clients that are no browsers send neither `Origin` nor `Sec-Fetch-Site` and are not concerned.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from starlette.types import Scope

from services.coordinator.api.heads import METRICS, headers, is_api, is_probe, path_in_app, paths
from services.coordinator.api.origins import HOST, is_nobodys, is_own
from services.coordinator.errors import ForeignOrigin, Misdirected, ReadOnly, Refused
from services.coordinator.tokens.model import SAFE_METHODS, is_read
from shared.text import printable

LOOPBACK = frozenset({"127.0.0.1", "localhost", "[::1]"})
ANY_HOST = "*"
DOCUMENTS = frozenset({"/docs", "/docs/problems", "/openapi.json", "/asyncapi"})
# Changes nothing but the cookie and what this process remembers of it.
SIGNING = frozenset({"/sign-in", "/sign-out"})


@dataclass(frozen=True)
class Access:
    """The rules of one server.

    hosts  : names it may be called by beside the loopback ones, lower case and without port; `*` for every name
    closed : paths outside the API that need a token too
    alone  : whether, without a token, it answers on the loopback alone
    reads  : whether it answers nothing but reads
    """

    hosts: frozenset[str] = frozenset()
    closed: frozenset[str] = frozenset()
    alone: bool = True
    reads: bool = False

    @classmethod
    def of(
        cls,
        hosts: Collection[str],
        *,
        open_docs: bool = True,
        open_metrics: bool = True,
        alone: bool = True,
        reads: bool = False,
    ) -> Access:
        closed = (frozenset() if open_docs else DOCUMENTS) | (frozenset() if open_metrics else frozenset({METRICS}))
        return cls(frozenset(hosts), closed, alone, reads)

    def refusal(self, scope: Scope) -> Refused | None:
        """Why a request is refused before its body is read; None where it may pass."""
        return self._host(scope) or self._page(scope) or self._change(scope)

    def is_protected(self, scope: Scope) -> bool:
        """Whether a call needs a token, where any does.

        Either reading of the path: one that the router would not take costs a login, the other way round it would save one.
        """
        return any(is_api(path) or path in self.closed for path in paths(scope))

    def _host(self, scope: Scope) -> Refused | None:
        probe = is_probe(scope)
        # Ready or not is nobody's secret; how many units wait and why is, and a name that points here could read it.
        if ANY_HOST in self.hosts or (probe and path_in_app(scope) != METRICS):
            return None
        given = headers(scope, b"host")
        found = HOST.fullmatch(given[0]) if len(given) == 1 else None
        name = "" if found is None else found["name"].lower().rstrip(".")
        if name in LOOPBACK | self.hosts or (probe and is_nobodys(name)):
            return None
        said = repr(printable(given[0])[:100]) if given else "no host"
        return Misdirected(
            f"The request was sent to {said}, which is not a name of this server. Call it by 127.0.0.1 or localhost, or list the name "
            "in LEADLINE_HOSTS and start the server again."
        )

    def _change(self, scope: Scope) -> Refused | None:
        if not self.reads or is_read(scope["method"], path_in_app(scope)) or path_in_app(scope) in SIGNING:
            return None
        return ReadOnly(
            f"This server only reads (LEADLINE_READ_ONLY), and {scope['method']} is a change. Nothing was done. "
            "Send it to the coordinator that takes changes."
        )

    @staticmethod
    def _page(scope: Scope) -> Refused | None:
        """A change that a page of another site asks for. A page of the same site, on another port or name, is another too."""
        if scope["method"] in SAFE_METHODS:
            return None
        origins, sites = headers(scope, b"origin"), {site.lower() for site in headers(scope, b"sec-fetch-site")}
        own = len(origins) == 1 and is_own(origins[0], headers(scope, b"host"))
        if (origins and not own) or "cross-site" in sites or ("same-site" in sites and not own):
            said = repr(printable(origins[0])[:100]) if origins else "another site"
            return ForeignOrigin(
                f"A page of {said} asked for a change, and only pages of this server may. Nothing was done. Behind a proxy, let it "
                "pass the Host header on as it came."
            )
        return None
