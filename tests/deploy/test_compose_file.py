"""docker-compose.yml says what the design says: separate processes, separate roles, a start that waits for health."""

from __future__ import annotations

import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from sqlalchemy.engine import make_url

from deploy import env_file
from shared.db.roles import API, SERVICES, role_of
from tests.support import compose


def test_the_five_services_are_there() -> None:
    assert sorted(compose.application_services()) == sorted(SERVICES)


DRAWN = {name: f"drawn-{name.lower()}" for name in env_file.NAMES}


@pytest.mark.parametrize("service", [*SERVICES, API])
def test_each_service_has_its_own_role_with_the_password_that_migrate_sets(service: str) -> None:
    services = compose.load()
    given = (
        services["coordinator"]["environment"]["LEADLINE_API_DATABASE_URL"]
        if service == API
        else services[service]["environment"]["LEADLINE_DATABASE_URL"]
    )
    url = make_url(compose.interpolate(given, DRAWN))
    password = compose.interpolate(services["migrate"]["environment"][f"LEADLINE_{service.upper()}_PASSWORD"], DRAWN)
    assert (url.username, url.password) == (role_of(service), password)


def test_a_superuser_is_only_the_job_that_makes_the_migrator() -> None:
    connected = {
        name: {
            make_url(compose.interpolate(value, DRAWN)).username
            for value in (service.get("environment") or {}).values()
            if str(value).startswith("postgresql://")
        }
        for name, service in compose.load().items()
    }
    assert [name for name, users in connected.items() if "postgres" in users] == ["roles"]
    assert connected["migrate"] == {"leadline_migrator"}


def _strings(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        for value in node.values():
            yield from _strings(value)
    elif isinstance(node, list):
        for value in node:
            yield from _strings(value)
    elif isinstance(node, str):
        yield node


def test_no_password_and_no_token_has_a_default() -> None:
    """Whoever forgets `make env` is told to run it; nothing starts with a secret that everybody knows."""
    used = {
        found
        for text in _strings(compose.load())
        for found in re.findall(r"\$\{(\w+):\?run \"make env\" first\}", text)
    }
    assert used == set(env_file.NAMES)
    secret = re.compile(r"\$\{(\w*(?:PASSWORD|TOKEN))(?::-|\})")
    assert [text for text in _strings(compose.load()) if secret.search(text)] == []
    with pytest.raises(LookupError, match=r'LEADLINE_TOKEN: run "make env" first'):
        compose.interpolate(compose.load()["coordinator"]["environment"]["LEADLINE_TOKEN"], {})
    assert not any("LEADLINE_WITHOUT_TOKEN" in (s.get("environment") or {}) for s in compose.load().values())


OURS = (*SERVICES, "roles", "migrate", "topics")


@pytest.mark.parametrize("name", OURS)
def test_what_runs_our_code_is_confined(name: str) -> None:
    service = compose.load()[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert "cap_add" not in service
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert all(":size=" in mount for mount in service["tmpfs"])
    assert service["pids_limit"]
    assert service["mem_limit"]


def test_servers_of_others_are_confined_as_far_as_they_let_themselves() -> None:
    services = compose.load()
    for name in ("postgres", "kafka"):
        assert services[name]["cap_drop"] == ["ALL"]
        assert services[name]["security_opt"] == ["no-new-privileges:true"]
        assert services[name]["mem_limit"]
        assert services[name]["pids_limit"]
    assert services["postgres"]["read_only"] is True
    assert "SYS_ADMIN" not in services["postgres"]["cap_add"]


def test_only_who_must_reaches_beyond_the_internal_network() -> None:
    document = yaml.safe_load(compose.FILE.read_text())
    assert document["networks"]["inside"] == {"internal": True}
    outside = [name for name, service in document["services"].items() if "outside" in service["networks"]]
    assert sorted(outside) == ["coordinator", "ingest"]
    assert all("inside" in service["networks"] for service in document["services"].values())


def test_the_file_of_secrets_is_private_complete_and_kept(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    path.write_text("# mine\nLEADLINE_PORT=9000\nLEADLINE_TOKEN=\nPOSTGRES_PASSWORD=chosen-by-me\n")
    path.chmod(0o644)
    assert env_file.write_env(path) == [name for name in env_file.NAMES if name != "POSTGRES_PASSWORD"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    lines = path.read_text().splitlines()
    assert lines[:3] == ["# mine", "LEADLINE_PORT=9000", "POSTGRES_PASSWORD=chosen-by-me"]
    values = dict(line.split("=", 1) for line in lines if not line.startswith("#"))
    drawn = [values[name] for name in env_file.NAMES if name != "POSTGRES_PASSWORD"]
    assert len(set(drawn)) == len(drawn)
    # They stand in addresses as they are.
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{40,}", value) for value in drawn)
    before = path.read_text()
    assert env_file.write_env(path) == []
    assert path.read_text() == before
    assert [entry.name for entry in tmp_path.iterdir()] == [".env"]


def test_the_file_of_secrets_is_never_committed() -> None:
    assert ".env" in (compose.ROOT / ".gitignore").read_text().splitlines()


@pytest.mark.parametrize("service", SERVICES)
def test_each_service_starts_after_what_it_needs(service: str) -> None:
    waits = {name: how["condition"] for name, how in compose.load()[service]["depends_on"].items()}
    assert compose.load()["migrate"]["depends_on"] == {"roles": {"condition": "service_completed_successfully"}}
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
        ("LEADLINE_RATE_LIMIT", ["coordinator"]),
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
        ("LEADLINE_KEEP_OUTBOX_DAYS", list(SERVICES)),
        ("LEADLINE_KEEP_IDEMPOTENCY_DAYS", ["coordinator"]),
        ("LEADLINE_KEEP_IDEMPOTENCY_KEYS", ["coordinator"]),
        ("LEADLINE_KEEP_DEAD_LETTERS_DAYS", ["coordinator"]),
        ("LEADLINE_KEEP_HISTORY_DAYS", ["coordinator"]),
        ("LEADLINE_KEEP_RUNS_DAYS", ["coordinator"]),
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
