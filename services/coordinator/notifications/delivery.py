"""Send what is to be sent: signed, to the address that was checked, bounded in time and bytes, again after a failure.

A message is claimed and committed before it is sent, and marked after. Who dies in between sends it again under the same
`Leadline-Delivery`, by which a receiver knows that it has it: over a network there is no other way to say a thing exactly once.
"""

from __future__ import annotations

import asyncio
import json
import socket
import time
from dataclasses import dataclass
from datetime import timedelta

import httpx2
from sqlalchemy.ext.asyncio import AsyncEngine

from services.coordinator.notifications import webhook_store
from services.coordinator.notifications.addresses import is_loopback, resolve
from services.coordinator.notifications.model import Message, signature, wait_after
from shared.db.tenancy import HOUSE
from shared.network import environment_proxy
from shared.telemetry import NOTIFICATIONS, logger

log = logger(__name__)

TIMEOUT_SECONDS = 10.0
LEASE = timedelta(seconds=3 * TIMEOUT_SECONDS)
MOST_BYTES = 64 * 1024
NOT_PUBLIC = "not reachable: nothing public has that name, or it is asked by http; nothing was sent"


@dataclass(frozen=True, slots=True)
class Sender:
    """private: webhooks may lead into one's own network"""

    private: bool = False

    async def send(self, message: Message) -> str | None:
        """None if it arrived, else why it did not. What the receiver answers beside its status is not read to the end."""
        body = json.dumps(message.body, separators=(",", ":"), allow_nan=False).encode()
        now = int(time.time())
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "leadline",
            "Leadline-Event": message.event,
            "Leadline-Delivery": str(message.delivery),
            "Leadline-Timestamp": str(now),
            "Leadline-Signature": signature(message.secret, now, body),
        }
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                status = await self._post(message.url, headers, body, loopback=message.tenant == HOUSE)
        except TimeoutError:
            return f"no answer within {TIMEOUT_SECONDS:g} s"
        except (PermissionError, socket.gaierror) as error:
            # What the server's own network calls by that name, and whether it does, only its operators learn.
            if message.tenant != HOUSE:
                return NOT_PUBLIC
            return str(error) if isinstance(error, PermissionError) else f"not reachable: {error.strerror or error}"
        except OSError as error:
            return f"not reachable: {error.strerror or error}"
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            # The name only: a message of the library may quote the URL.
            return f"not reachable: {type(error).__name__}"
        if 200 <= status < 300:
            return None
        return f"answered {status}" + (", a redirect, which is not followed" if 300 <= status < 400 else "")

    async def _post(self, url: str, headers: dict[str, str], body: bytes, *, loopback: bool) -> int:
        request = httpx2.Request("POST", url, headers=headers, content=body)
        host, secure = request.url.host, request.url.scheme == "https"
        if not (secure or self.private or is_loopback(host)):
            raise PermissionError(f"{host} is asked by http, which LEADLINE_WEBHOOK_PRIVATE allowed; nothing was sent")
        proxy = environment_proxy(request.url.scheme, host)
        if proxy is None:
            port = request.url.port or (443 if secure else 80)
            address = await resolve(host, port, private=self.private, loopback=loopback)
            # The Host header was set from the name, and stays; TLS proves the name.
            request.extensions = {**request.extensions, "sni_hostname": host}
            request.url = request.url.copy_with(host=address)
        verify = httpx2.create_ssl_context(trust_env=True) if secure else False
        async with httpx2.AsyncClient(
            timeout=TIMEOUT_SECONDS, follow_redirects=False, trust_env=False, proxy=proxy, verify=verify
        ) as client:
            answer = await client.send(request, stream=True)
            await answer.aclose()
            return int(answer.status_code)


async def deliver(engine: AsyncEngine, sender: Sender, *, lease: timedelta = LEASE) -> int:
    """Try the next message of each webhook. Returns how many arrived."""
    async with engine.begin() as conn:
        messages = await webhook_store.claim(conn, lease)
    return sum(await asyncio.gather(*(_try(engine, sender, message) for message in messages)))


async def _try(engine: AsyncEngine, sender: Sender, message: Message) -> bool:
    error = await sender.send(message)
    async with engine.begin() as conn:
        if error is None:
            await webhook_store.record_delivered(conn, message.id)
            outcome = "delivered"
        else:
            gave_up = await webhook_store.record_failure(conn, message.id, error, wait_after(message.attempt))
            outcome = "given_up" if gave_up else "failed"
    NOTIFICATIONS.labels(outcome).inc()
    if error is not None:
        log.warning("notification_failed", kind=message.event, attempt=message.attempt, outcome=outcome, error=error)
    return error is None
