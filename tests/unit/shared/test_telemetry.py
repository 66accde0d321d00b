"""What is observed by thousands counts as if it came one by one."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from shared.telemetry import HistogramOfMany

BUCKETS = (0.5, 1, 2, 5, 10)


def observed(amounts: list[float], *, together: bool) -> dict[tuple[str, str], float]:
    registry = CollectorRegistry()
    histogram = HistogramOfMany("seconds", "Seconds", ["phase"], buckets=BUCKETS, registry=registry).labels("risk")
    if together:
        histogram.observe_all(amounts)
    else:
        for amount in amounts:
            histogram.observe(amount)
    [metric] = registry.collect()
    return {
        (sample.name, sample.labels.get("le", "")): sample.value
        for sample in metric.samples
        if not sample.name.endswith("_created")
    }


@given(st.lists(st.one_of(st.sampled_from(BUCKETS), st.floats(0, 20))))
def test_many_at_once_are_counted_as_one_by_one(amounts: list[float]) -> None:
    one, all_ = observed(amounts, together=False), observed(amounts, together=True)
    assert one.keys() == all_.keys()
    for name, value in one.items():
        assert math.isclose(value, all_[name], abs_tol=1e-9), name
