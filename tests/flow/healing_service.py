"""The toy service behind uvicorn, as a process of its own that can be told to be slow, or to lose its consumer.

`uvicorn --factory tests.flow.healing_service:create_app`; LEADLINE_TOY_SLOW is a handler's seconds, LEADLINE_TOY_LOSES what is lost
a moment after the start: `consumer`.
"""

from __future__ import annotations

import asyncio
import os
from typing import Any

from fastapi import FastAPI

import shared.service
from shared.application import create_service_app
from shared.service import Service
from shared.settings import ServiceSettings
from shared.work import Batch
from tests.flow import toy
from tests.flow.toy import Worker


def create_app() -> FastAPI:
    shared.service.SUPERVISION_SECONDS = 0.2

    def slow(_: Batch) -> Any:
        return asyncio.sleep(float(os.environ.get("LEADLINE_TOY_SLOW", "0")))

    service = toy.build(ServiceSettings(), Worker(on_load=slow))
    if os.environ.get("LEADLINE_TOY_LOSES") == "consumer":
        service.background.append(lambda: _lose_the_consumer(service))
    return create_service_app(service, title="Toy")


async def _lose_the_consumer(service: Service) -> None:
    await asyncio.sleep(0.5)
    for subscriber in service.broker.subscribers:
        for task in subscriber.tasks:  # type: ignore[attr-defined]
            task.cancel()
    await service.stopping.wait()
