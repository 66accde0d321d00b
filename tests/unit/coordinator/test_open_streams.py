"""A stream that is open ends when its token is revoked or expires; everything else passes as it is."""

from __future__ import annotations

import asyncio
from uuid import UUID, uuid4

from starlette.types import Message, Receive, Scope, Send

from services.coordinator.api.open_streams import OpenStream
from services.coordinator.errors import Unavailable
from services.coordinator.tokens.authenticator import Authenticator, Known
from services.coordinator.tokens.model import Identity, Role

STREAM = [(b"content-type", b"text/event-stream; charset=utf-8")]
END: Message = {"type": "http.response.body", "body": b"", "more_body": False}


async def nothing(_: frozenset[UUID]) -> Known:
    return Known()


class Tokens(Authenticator):
    """Says what the table says at the moment."""

    def __init__(self) -> None:
        super().__init__(None, nothing)
        self.valid = True
        self.reachable = True
        self.asked = 0
        self.asked_thrice = asyncio.Event()

    async def refresh_identity(self, identity: Identity) -> Identity | None:
        self.asked += 1
        if self.asked == 3:
            self.asked_thrice.set()
        if not self.reachable:
            raise Unavailable("no database")
        return identity if self.valid else None


READER = Identity(Role.READER, "desk", uuid4())


class Client:
    """The server's side of a connection: what was sent to the client, who never leaves by itself."""

    def __init__(self) -> None:
        self.sent: list[Message] = []

    async def receive(self) -> Message:
        await asyncio.Event().wait()
        raise AssertionError("never")

    async def send(self, message: Message) -> None:
        self.sent.append(message)


def app(headers: list[tuple[bytes, bytes]], turns: int) -> tuple[list[Message], object]:
    """An application that sends `turns` events, or until its client has left."""
    heard: list[Message] = []

    async def serve(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        left = asyncio.ensure_future(receive())
        for turn in range(turns):
            await send({"type": "http.response.body", "body": str(turn).encode(), "more_body": True})
            await asyncio.wait([left], timeout=0.001)
            if left.done():
                heard.append(left.result())
                return
        left.cancel()

    return heard, serve


async def test_a_stream_ends_with_its_token_and_the_application_hears_of_it() -> None:
    tokens, client = Tokens(), Client()
    heard, serve = app(STREAM, 100_000)
    stream = OpenStream(
        {"type": "http", "state": {"identity": READER}}, client.receive, client.send, tokens, check_seconds=0.002
    )
    running = asyncio.create_task(stream.run(serve))  # type: ignore[arg-type]
    await asyncio.wait_for(tokens.asked_thrice.wait(), 5)
    assert not running.done()
    tokens.valid = False
    await asyncio.wait_for(running, 5)
    assert heard == [{"type": "http.disconnect"}]
    assert client.sent[-1] == END
    assert client.sent.count(END) == 1


async def test_a_database_that_is_away_ends_no_stream() -> None:
    tokens, client = Tokens(), Client()
    tokens.reachable = False
    heard, serve = app(STREAM, 20)
    stream = OpenStream(
        {"type": "http", "state": {"identity": READER}}, client.receive, client.send, tokens, check_seconds=0.001
    )
    await asyncio.wait_for(stream.run(serve), 5)  # type: ignore[arg-type]
    assert tokens.asked > 1
    assert (len(client.sent), heard) == (21, [])


async def test_other_answers_and_streams_that_need_no_token_are_left_alone() -> None:
    for headers, state in (([(b"content-type", b"application/json")], {"identity": READER}), (STREAM, {})):
        tokens, client = Tokens(), Client()
        tokens.valid = False
        heard, serve = app(headers, 5)
        await OpenStream({"type": "http", "state": state}, client.receive, client.send, tokens).run(serve)  # type: ignore[arg-type]
        assert (tokens.asked, len(client.sent), heard) == (0, 6, [])
