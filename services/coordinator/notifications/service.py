"""Limits and webhooks as users write them: checked, then kept."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from services.coordinator.errors import Conflict, NotFound
from services.coordinator.explain.portfolios import check_name
from services.coordinator.notifications import limit_store, webhook_store
from services.coordinator.notifications.addresses import check_url
from services.coordinator.notifications.delivery import LEASE
from services.coordinator.notifications.evaluation import STATUS, check_figure
from services.coordinator.notifications.model import Limit, Op, Webhook, draw_secret
from services.coordinator.results.portfolios import require_portfolio
from services.coordinator.tokens import tenant_store
from shared.db.tenancy import HOUSE, own_tenant

MOST_LIMITS = 200
MOST_WEBHOOKS = 50


async def add_limit(
    conn: AsyncConnection, name: str, portfolio: UUID | None, figure: str, op: Op, value: float
) -> Limit:
    """Raises `NotFound` for a portfolio that is not there or a figure that it does not have; `Conflict` for too many limits.

    A figure of a portfolio without results yet is taken as it is written.
    """
    figure = check_figure(figure)
    if portfolio is not None:
        await require_portfolio(conn, portfolio)
        if figure.partition(".")[0] != STATUS:
            await check_name(conn, portfolio, figure)
    await tenant_store.lock(conn)
    if await limit_store.count(conn) >= MOST_LIMITS:
        raise Conflict(f"There are {MOST_LIMITS} limits, the most there can be. Delete some.", code="too_many_limits")
    return await limit_store.insert(conn, name, portfolio, figure, op, value)


async def delete_limit(conn: AsyncConnection, limit: UUID) -> None:
    if not await limit_store.delete(conn, limit):
        raise NotFound(f"There is no limit {limit}. It may have been deleted.")


async def add_webhook(conn: AsyncConnection, name: str, url: str, *, private: bool) -> tuple[Webhook, str]:
    """A new webhook and the secret that signs its messages, which is told here and never again.

    What is breached now it is told at once. Other tenants than the first reach nothing of the server's own machine. Raises `Invalid`
    for a URL that it cannot lead to, `Conflict` for a name in use.
    """
    target = check_url(url, private=private, loopback=own_tenant() == HOUSE)
    await tenant_store.lock(conn)
    if await webhook_store.count(conn) >= MOST_WEBHOOKS:
        raise Conflict(
            f"There are {MOST_WEBHOOKS} webhooks, the most there can be. Delete some.", code="too_many_webhooks"
        )
    secret = draw_secret()
    made = await webhook_store.insert(conn, name, target, secret)
    if made is None:
        raise Conflict(
            f"A webhook named {name!r} is there already. Choose another name, or delete that one first.",
            code="webhook_name_taken",
        )
    found = await webhook_store.find(conn, made)
    assert found is not None
    return found, secret


async def delete_webhook(conn: AsyncConnection, webhook: UUID) -> None:
    if not await webhook_store.delete(conn, webhook):
        raise _no_webhook(webhook)


async def send_test(conn: AsyncConnection, webhook: UUID) -> None:
    """A message that says nothing, in its turn; what waits is tried again at once."""
    if not await webhook_store.enqueue_test(conn, webhook, LEASE):
        raise _no_webhook(webhook)


def _no_webhook(webhook: UUID) -> NotFound:
    return NotFound(f"There is no webhook {webhook}. It may have been deleted.")
