"""docker-compose.yml says what the design says: separate processes, separate roles, a start that waits for health."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import yaml
from sqlalchemy.engine import make_url

from shared.db.roles import SERVICES, role_of
from tests.support import compose


def test_the_five_services_are_there() -> None:
    assert sorted(compose.application_services()) == sorted(SERVICES)


@pytest.mark.parametrize("service", SERVICES)
def test_each_service_has_its_own_role_with_the_password_that_migrate_sets(service: str) -> None:
    services = compose.load()
    url = make_url(compose.interpolate(services[service]["environment"]["LEADLINE_DATABASE_URL"], {}))
    password = compose.interpolate(services["migrate"]["environment"][f"LEADLINE_{service.upper()}_PASSWORD"], {})
    assert (url.username, url.password) == (role_of(service), password)


@pytest.mark.parametrize("service", SERVICES)
def test_each_service_starts_after_what_it_needs(service: str) -> None:
    waits = {name: how["condition"] for name, how in compose.load()[service]["depends_on"].items()}
    assert waits == {
        "migrate": "service_completed_successfully",
        "topics": "service_completed_successfully",
        "postgres": "service_healthy",
        "kafka": "service_healthy",
    }


def test_what_others_wait_for_has_a_health_check() -> None:
    services = compose.load()
    for service in (*SERVICES, "postgres", "kafka"):
        assert services[service]["healthcheck"]["test"], service


def test_only_the_coordinator_is_published_and_only_on_this_machine() -> None:
    published = {name: service["ports"] for name, service in compose.load().items() if "ports" in service}
    assert list(published) == ["coordinator"]
    assert compose.interpolate(published["coordinator"][0], {}).startswith("127.0.0.1:")


def test_variables_are_read_as_compose_reads_them() -> None:
    assert compose.interpolate("a ${X:-b} ${Y:-}", {"X": "c"}) == "a c "
    assert compose.interpolate("${X:-b}", {}) == "b"
    assert compose.interpolate("${X:-b}", {"X": ""}) == "b"


def test_no_name_stands_twice() -> None:
    """Compose refuses a file in which a key of a mapping is repeated; a YAML parser need not."""

    def keys(node: yaml.Node | None) -> Iterator[list[str]]:
        if isinstance(node, yaml.MappingNode):
            yield [key.value for key, _ in node.value]
            for _, value in node.value:
                yield from keys(value)
        elif isinstance(node, yaml.SequenceNode):
            for value in node.value:
                yield from keys(value)

    assert [names for names in keys(yaml.compose(compose.FILE.read_text())) if len(names) > len(set(names))] == []


@pytest.mark.parametrize(
    ("name", "services"),
    [
        ("LEADLINE_KAFKA_PARTITIONS", ["topics"]),
        ("LEADLINE_KAFKA_REPLICATION", ["topics"]),
        ("LEADLINE_RISK_SCENARIOS", ["risk"]),
        ("LEADLINE_YAHOO_QUOTA", ["ingest"]),
        ("LEADLINE_MASSIVE_QUOTA", ["ingest"]),
        ("LEADLINE_FMP_QUOTA", ["ingest"]),
        ("LEADLINE_PATIENCE", ["ingest", "factors"]),
        ("LEADLINE_TIINGO_API_KEY", ["ingest"]),
        ("LEADLINE_TIINGO_QUOTA", ["ingest"]),
        ("LEADLINE_REFERENCE_PROVIDERS", ["ingest"]),
        ("LEADLINE_MAX_BODY_MB", ["coordinator"]),
        ("LEADLINE_HOSTS", ["coordinator"]),
        ("LEADLINE_MAX_LOTS", ["coordinator"]),
        ("LEADLINE_MAX_SYMBOLS", ["coordinator"]),
        ("LEADLINE_MAX_SESSIONS", ["coordinator"]),
        ("LEADLINE_MAX_LOT_SESSIONS", ["coordinator"]),
        ("LEADLINE_MAX_REQUESTS", ["coordinator"]),
        ("LEADLINE_MAX_STREAMS", ["coordinator"]),
        ("LEADLINE_API_POOL_SIZE", ["coordinator"]),
        ("LEADLINE_RECONCILE_SECONDS", ["coordinator"]),
        ("LEADLINE_GRACE_SECONDS", ["coordinator"]),
        ("LEADLINE_LOG_LEVEL", list(SERVICES)),
        ("LEADLINE_POOL_SIZE", list(SERVICES)),
    ],
)
def test_what_the_readme_lets_one_set_reaches_those_who_read_it(name: str, services: list[str]) -> None:
    loaded = compose.load()
    reached = [service for service in loaded if name in (loaded[service].get("environment") or {})]
    assert sorted(reached) == sorted(services)
    # Left unset without a value: the default stays in one place.
    assert {loaded[service]["environment"][name] for service in reached} == {None}


def test_scenarios_of_ones_own_can_be_mounted() -> None:
    services = compose.load()
    assert services["risk"]["volumes"] == services["ingest"]["volumes"]
