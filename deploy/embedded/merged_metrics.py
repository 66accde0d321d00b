"""What two processes count, as one of them would tell it."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Metric, generate_latest
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

# Of a process and not of what is done in it: told of each.
OF_A_PROCESS = ("process_", "python_")
Key = tuple[str, tuple[tuple[str, str], ...]]


class _Merged(Collector):
    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = list(families)

    def collect(self) -> Iterable[Metric]:
        return self._families


def merge(ours: bytes, theirs: str, process: str) -> bytes:
    """Both as one text: what has the same name and labels is added up.

    process : label of the figures of the other process itself
    """
    families: dict[str, tuple[Metric, dict[Key, float]]] = {}
    for text, other in ((ours.decode(), False), (theirs, True)):
        for family in text_string_to_metric_families(text):
            merged = Metric(family.name, family.documentation, family.type)
            _, values = families.setdefault(family.name, (merged, {}))
            for sample in family.samples:
                labels = dict(sample.labels)
                if other and family.name.startswith(OF_A_PROCESS):
                    labels["process"] = process
                key = sample.name, tuple(labels.items())
                known = values.get(key)
                if known is None:
                    values[key] = sample.value
                else:
                    # When something was counted first is no count.
                    created = sample.name.endswith("_created")
                    values[key] = min(known, sample.value) if created else known + sample.value
    for family, values in families.values():
        for (name, pairs), value in values.items():
            family.add_sample(name, dict(pairs), value)
    registry = CollectorRegistry()
    registry.register(_Merged(family for family, _ in families.values()))
    return generate_latest(registry)
