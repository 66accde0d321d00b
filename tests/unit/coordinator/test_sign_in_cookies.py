"""Cookies of signing in are ended with all that they were set with, else a browser keeps them."""

from __future__ import annotations

import pytest
from fastapi import Request, Response

from services.coordinator.web import sign_in


@pytest.mark.parametrize("suffix", ["", "openid"])
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_cookie_is_ended_as_it_was_set(scheme: str, suffix: str) -> None:
    request = Request({"type": "http", "scheme": scheme, "server": ("x.example", 443), "path": "/", "headers": []})
    begun, ended = Response(), Response()
    sign_in.set_cookie(request, begun, "value", suffix=suffix, seconds=60.0)
    sign_in.clear_cookie(request, ended, suffix)
    ways = [{part.strip() for part in each.headers["set-cookie"].split(";")} for each in (begun, ended)]
    kept = {"HttpOnly", "Path=/", "SameSite=lax", *(["Secure"] if scheme == "https" else [])}
    assert all(kept <= way for way in ways)
    assert ("Secure" in ways[0] | ways[1]) == (scheme == "https")
    assert "Max-Age=0" in ways[1]
    [name] = {each.headers["set-cookie"].partition("=")[0] for each in (begun, ended)}
    assert name.endswith("_openid") == (suffix == "openid")
