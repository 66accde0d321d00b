"""Create the topics that are missing, and add partitions where there are too few: `python -m deploy.topics`.

A job of its own, since brokers create none by themselves.
"""

from __future__ import annotations

import asyncio

from shared.messaging.broker import add_partitions, ensure_topics
from shared.settings import ServiceSettings


async def ensure(settings: ServiceSettings) -> str:
    """Do both; returns what was done, in words."""
    created = await ensure_topics(settings)
    raised = await add_partitions(settings)
    said = [f"created {', '.join(created)}"] if created else []
    said += [f"raised to {settings.kafka_partitions} partitions: {', '.join(raised)}"] if raised else []
    return "; ".join(said) or "all topics were there"


def main() -> None:
    print(asyncio.run(ensure(ServiceSettings())))


if __name__ == "__main__":
    main()
