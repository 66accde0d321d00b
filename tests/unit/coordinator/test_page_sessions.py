"""Sessions and sign-ins of this process: whoever asks for many loses their own, and what anybody may begin takes no memory."""

from __future__ import annotations

import time
from dataclasses import replace
from uuid import uuid4

import pytest

from services.coordinator.tokens.authenticator import SERVER
from services.coordinator.tokens.model import Identity, Role
from services.coordinator.tokens.openid import Attempt
from services.coordinator.web import sessions as module
from services.coordinator.web.sessions import ATTEMPT_SECONDS, MOST_OF_ONE, SESSION_SECONDS, Sessions

ATTEMPT = Attempt("state", "nonce", "https://leadline.example/sign-in/openid/callback", "/p/1", "invited")


def member(tenant: object = None) -> Identity:
    return Identity(Role.READER, "reader", uuid4(), tenant or uuid4(), uuid4())  # type: ignore[arg-type]


def test_whoever_signs_in_again_and_again_signs_out_nobody_else() -> None:
    sessions, tenant = Sessions(), uuid4()
    kept = {sessions.begin(of): of for of in (SERVER, member(), member(tenant))}
    flood = member(tenant)
    begun = [sessions.begin(replace(flood, token_id=uuid4())) for _ in range(3 * MOST_OF_ONE)]
    found = {session: sessions.find_identity(session) for session in kept}
    assert [each and replace(each, since=None) for each in found.values()] == list(kept.values())
    assert [sessions.find_identity(each) is not None for each in begun] == [False] * 2 * MOST_OF_ONE + [
        True
    ] * MOST_OF_ONE
    assert len(sessions.until) == MOST_OF_ONE + len(kept)


def test_many_accounts_of_one_tenant_sign_out_nobody_of_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_OF_TENANT", 5)
    sessions, tenant = Sessions(), uuid4()
    other = sessions.begin(member())
    begun = [sessions.begin(member(tenant)) for _ in range(20)]
    assert sessions.find_identity(other) is not None
    assert [sessions.find_identity(each) is not None for each in begun] == [False] * 15 + [True] * 5


def test_what_ended_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    sessions = Sessions()
    sessions.end(sessions.begin(member()))
    old = sessions.begin(member())
    later = time.monotonic() + SESSION_SECONDS + 1
    monkeypatch.setattr(time, "monotonic", lambda: later)
    assert sessions.find_identity(old) is None
    assert (sessions.until, dict(sessions._of_one), dict(sessions._of_tenant)) == ({}, {}, {})


def test_a_sign_in_is_kept_by_its_browser_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    sessions = Sessions()
    sealed = sessions.seal(ATTEMPT)
    assert sessions.unseal(sealed) == ATTEMPT
    body, mark = sealed.split(".")
    assert Sessions().unseal(sealed) is None, "of another process"
    for forged in (
        "",
        ".",
        body,
        f"{body}.",
        f"{body[:-4]}.{mark}",
        f"{body}.{mark[:-1]}x",
        f"{body}.\u00e9",
        "\udce9.x",
    ):
        assert sessions.unseal(forged) is None
    later = time.monotonic() + ATTEMPT_SECONDS + 1
    monkeypatch.setattr(time, "monotonic", lambda: later)
    assert sessions.unseal(sealed) is None, "too old"


def test_a_sign_in_fits_into_a_cookie_whatever_it_leads_to() -> None:
    sessions = Sessions()
    found = None
    for go_on in ("/" + "\x01" * 499, "/" + "\U0001f600" * 499, "/p/1"):
        sealed = sessions.seal(replace(ATTEMPT, go_on=go_on, invitation="x" * 200))
        found = sessions.unseal(sealed)
        assert (len(sealed) < 3900, found and found.invitation) == (True, "x" * 200)
        assert found is not None
        assert found.go_on in (go_on, "/")
    assert found is not None
    assert found.go_on == "/p/1"
