"""A second opinion comes from another source, and not from another name of the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import cast

import numpy as np
from pydantic import SecretStr

from services.ingest.model.market import Answer, Bars, History, ProviderSeries, Request
from services.ingest.providers.chain import Chain, source_of
from services.ingest.providers.quota.limits import Quota
from services.ingest.providers.registry import create_providers
from services.ingest.settings import IngestSettings
from shared.market.calendar import calendar, exchange_calendar

DAYS = calendar()
FIRST, LAST = date(2020, 1, 2), date(2020, 1, 31)


@dataclass
class Named:
    """Has every bar, of somebody's data."""

    name: str
    source: str
    asked: list[Request] = field(default_factory=list)

    def fetch(self, requests: Sequence[Request]) -> list[Answer]:
        self.asked += requests
        return [self._answer(request) for request in requests]

    def _answer(self, request: Request) -> Answer:
        days = DAYS.between(request.first, request.last)
        level = np.ones(len(days))
        sessions = np.array(days, dtype="datetime64[D]")
        return History(request.symbol, Bars(sessions, level, level, level, level, level, level, split_adjusted=True))


def test_a_second_opinion_comes_from_another_source_and_not_from_another_name() -> None:
    first, alias, other = Named("yahoo", "yahoo"), Named("yahooquery", "yahoo"), Named("fmp", "fmp")
    for asked in (first.name, alias.name):
        found = Chain([first, alias, other], exchange_calendar).second_opinion(Request("A", FIRST, LAST), asked)
        assert isinstance(found, ProviderSeries)
        assert found.provider == "fmp"
    assert first.asked == alias.asked == []
    alone = Chain([first, alias], exchange_calendar)
    assert alone.second_opinion(Request("A", FIRST, LAST), "yahoo") is None
    assert not alone.has_second
    assert Chain([first, other], exchange_calendar).has_second


def test_yahoo_under_its_two_names_is_one_source() -> None:
    made = create_providers(
        IngestSettings(providers=("yahoo",)), exchange_calendar, lambda *_: cast(Quota, None), lambda: LAST
    )
    assert [source_of(provider) for provider in made] == ["yahoo"]
    settings = IngestSettings(providers=("yahoo", "yahooquery", "massive"), massive_api_key=SecretStr("k"))
    made = create_providers(settings, exchange_calendar, lambda *_: cast(Quota, None), lambda: LAST)
    assert [source_of(provider) for provider in made] == ["yahoo", "yahoo", "massive"]
