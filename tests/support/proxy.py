"""A TCP proxy that can cut a connection between a COMMIT and its answer: the server has committed, the client will never know."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

# The simple query by which the driver ends a transaction, as it goes over the wire.
COMMIT = b"COMMIT;\x00"


@dataclass
class Proxy:
    """Listens on 127.0.0.1 and forwards to one server."""

    host: str
    port: int
    listening: int = 0
    # How many of the next commits lose their answer, and how many did.
    to_cut: int = 0
    cuts: int = 0
    _open: set[asyncio.Task[None]] = field(default_factory=set)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        try:
            there, back = await asyncio.open_connection(self.host, self.port)
        except OSError:
            writer.close()
            self._open.discard(task)
            return
        try:
            answers = asyncio.create_task(self._forward(there, writer))
            try:
                await self._listen(reader, back, answers, writer)
            finally:
                answers.cancel()
                await asyncio.gather(answers, return_exceptions=True)
        finally:
            for side in (writer, back):
                with contextlib.suppress(OSError):
                    side.close()
            self._open.discard(task)

    async def _listen(
        self,
        reader: asyncio.StreamReader,
        back: asyncio.StreamWriter,
        answers: asyncio.Task[None],
        writer: asyncio.StreamWriter,
    ) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                cut = self.to_cut > 0 and data.endswith(COMMIT)
                if cut:
                    self.to_cut -= 1
                    # From here on nothing the server says gets through.
                    answers.cancel()
                    await asyncio.gather(answers, return_exceptions=True)
                back.write(data)
                await back.drain()
                if cut:
                    await asyncio.sleep(0.1)  # long enough for the server to commit
                    self.cuts += 1
                    writer.transport.abort()
                    return

    @staticmethod
    async def _forward(there: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await there.read(65536):
                writer.write(data)
                await writer.drain()
        except OSError:
            # The server is gone; a client that is not told would wait for it for ever.
            pass
        writer.close()


@contextlib.asynccontextmanager
async def proxy(host: str, port: int) -> AsyncIterator[Proxy]:
    made = Proxy(host, port)
    server = await asyncio.start_server(made._serve, "127.0.0.1", 0)
    made.listening = server.sockets[0].getsockname()[1]
    try:
        yield made
    finally:
        server.close()
        for task in list(made._open):
            task.cancel()
        await asyncio.gather(*made._open, return_exceptions=True)
