"""Create the topics that are missing: `python -m deploy.topics`. A job of its own, since brokers create none by themselves."""

from __future__ import annotations

import asyncio

from shared.messaging.broker import ensure_topics
from shared.settings import ServiceSettings


def main() -> None:
    created = asyncio.run(ensure_topics(ServiceSettings()))
    print(f"created {', '.join(created)}" if created else "all topics were there")


if __name__ == "__main__":
    main()
