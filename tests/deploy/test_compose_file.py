"""docker-compose.yml says what the design says: separate processes, separate roles, a start that waits for health."""

from __future__ import annotations

import pytest
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
