"""SQL of how a tenant's own files are read: `coordinator.import_mappings`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.db.tenancy import own_tenant


async def save_mapping(conn: AsyncConnection, name: str, settings: Mapping[str, Any]) -> None:
    await conn.execute(
        text("""
            INSERT INTO coordinator.import_mappings (tenant_id, name, settings) VALUES (:tenant, :name, CAST(:settings AS jsonb))
            ON CONFLICT (tenant_id, name) DO UPDATE SET settings = excluded.settings, saved_at = clock_timestamp()
        """),
        {"tenant": own_tenant(), "name": name, "settings": json.dumps(settings, sort_keys=True)},
    )


async def mapping(conn: AsyncConnection, name: str) -> Mapping[str, Any] | None:
    found = await conn.scalar(
        text(
            "SELECT CAST(settings AS text) FROM coordinator.import_mappings WHERE tenant_id = :tenant AND name = :name"
        ),
        {"tenant": own_tenant(), "name": name},
    )
    return None if found is None else dict(json.loads(found))


async def mappings(conn: AsyncConnection) -> list[tuple[str, Mapping[str, Any]]]:
    rows = await conn.execute(
        text(
            "SELECT name, CAST(settings AS text) FROM coordinator.import_mappings WHERE tenant_id = :tenant ORDER BY name"
        ),
        {"tenant": own_tenant()},
    )
    return [(name, json.loads(settings)) for name, settings in rows]


async def delete_mapping(conn: AsyncConnection, name: str) -> bool:
    done = await conn.execute(
        text("DELETE FROM coordinator.import_mappings WHERE tenant_id = :tenant AND name = :name"),
        {"tenant": own_tenant(), "name": name},
    )
    return bool(done.rowcount)
