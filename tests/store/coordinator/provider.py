"""Signing in by OpenID Connect at a provider that runs on this machine."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from html import unescape
from io import BytesIO
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

import httpx2


class Provider:
    """An OpenID provider of its own package, on a port of this machine. It does not check PKCE itself: what stands before it does, as
    every provider that wants it would."""

    def __init__(self) -> None:
        import oidc_provider_mock
        from authlib.oauth2.rfc7636 import create_s256_code_challenge
        from werkzeug.serving import make_server
        from werkzeug.wrappers import Request as Sent
        from werkzeug.wrappers import Response as Answer

        inner = oidc_provider_mock.app()
        challenges: dict[str, str] = {}
        self.refused = 0

        def app(environ: dict[str, Any], start: Callable[..., Any]) -> Any:
            body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
            environ["wsgi.input"] = BytesIO(body)
            sent = Sent(environ)
            if sent.path == "/oauth2/token":
                expected = challenges.pop(sent.form["code"], "")
                if not expected or create_s256_code_challenge(sent.form.get("code_verifier", "")) != expected:
                    self.refused += 1
                    return Answer('{"error": "invalid_grant"}', 400, content_type="application/json")(environ, start)
            environ["wsgi.input"] = BytesIO(body)
            if sent.path != "/oauth2/authorize" or sent.method != "POST":
                return inner(environ, start)
            answer = Answer.from_app(inner, environ)
            code = parse_qs(urlsplit(answer.headers.get("Location", "")).query).get("code", [""])[0]
            assert sent.args["code_challenge_method"] == "S256"
            challenges[code] = sent.args["code_challenge"]
            return answer(environ, start)

        self.server = make_server("localhost", 0, app, threaded=True)
        self.issuer = f"http://localhost:{self.server.server_port}"
        self._thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05})

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self._thread.join()
        self.server.server_close()


async def recognised(browser: httpx2.AsyncClient, person: str, invitation: str = "", leave: str = "") -> str:
    """Sign in at the provider as the person; the address that it sends the browser back to."""
    if invitation:
        begun = await browser.post("/invitation", data={"code": invitation, "leave": leave})
        [address] = re.findall(r'<a class="button primary" href="([^"]+)">', begun.text)
    else:
        begun = await browser.get("/sign-in/openid")
        address = begun.headers["location"]
    async with httpx2.AsyncClient() as elsewhere:
        answer = await elsewhere.post(unescape(address), data={"sub": person})
    assert answer.status_code == 302, answer.text
    back = urlsplit(answer.headers["location"])
    assert back.path == "/sign-in/openid/callback"
    return f"{back.path}?{back.query}"
