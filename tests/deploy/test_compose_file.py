"""docker-compose.yml says what the design says: separate processes, separate roles, a start that waits for health."""

from __future__ import annotations

import json
import re
import stat
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from sqlalchemy.engine import make_url

from deploy import acls, cli, env_file, image_digests, settings_reference
from deploy.embedded import run
from services.coordinator.settings import CoordinatorSettings
from shared.db.roles import API, SERVICES, role_of
from shared.settings import is_secret
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
        for text in _strings(compose.document()["services"])
        for found in re.findall(r"\$\{(\w+):\?run \"make env\" first\}", text)
    }
    assert used == set(env_file.NAMES)
    secret = re.compile(r"\$\{(\w*(?:PASSWORD|TOKEN))(?::-|\})")
    assert [text for text in _strings(compose.document()) if secret.search(text)] == []
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
    assert compose.document()["networks"]["inside"] == {"internal": True}
    services = compose.load()
    outside = [name for name, service in services.items() if "outside" in service["networks"]]
    assert sorted(outside) == ["coordinator", "ingest"]
    assert all("inside" in service["networks"] for service in services.values())


def test_the_broker_lets_in_only_whom_it_knows() -> None:
    """Without a password only at the loopback of its own container."""
    given = compose.load()["kafka"]["environment"]
    protocols = dict(pair.split(":") for pair in given["KAFKA_LISTENER_SECURITY_PROTOCOL_MAP"].split(","))
    addresses = dict(listener.split("://") for listener in given["KAFKA_LISTENERS"].split(","))
    open_to_others = [name for name, address in addresses.items() if not address.startswith("127.0.0.1:")]
    assert [(name, protocols[name]) for name in open_to_others] == [("CLIENTS", "SASL_PLAINTEXT")]
    assert given["KAFKA_INTER_BROKER_LISTENER_NAME"] not in open_to_others
    assert given["KAFKA_CONTROLLER_LISTENER_NAMES"] not in open_to_others


def test_each_service_signs_in_at_the_broker_as_itself() -> None:
    jaas = compose.interpolate(
        compose.load()["kafka"]["environment"]["KAFKA_LISTENER_NAME_CLIENTS_PLAIN_SASL_JAAS_CONFIG"], DRAWN
    )
    known = dict(re.findall(r'user_(\w+)="([^"]+)"', jaas))
    signs_in = {}
    for name in (*SERVICES, "topics"):
        given = compose.load()[name]["environment"]
        assert given["LEADLINE_KAFKA_SECURITY_PROTOCOL"] == "SASL_PLAINTEXT"
        assert given["LEADLINE_KAFKA_SASL_MECHANISM"] == "PLAIN"
        password = compose.interpolate(given["LEADLINE_KAFKA_PASSWORD"], DRAWN)
        signs_in[given["LEADLINE_KAFKA_USERNAME"]] = password
    assert signs_in == known
    assert set(signs_in) == {role_of(service) for service in SERVICES} | {acls.TOPIC_JOB}
    assert len(set(known.values())) == len(known)


def test_what_is_beside_comes_only_when_asked_for_and_is_confined() -> None:
    services = compose.document()["services"]
    beside = {name: service for name, service in services.items() if "profiles" in service}
    assert {name: service["profiles"] for name, service in beside.items()} == {
        "kafka-ui": ["kafka-ui"],
        "prometheus": ["observability"],
        "grafana": ["observability"],
    }
    for name, service in beside.items():
        assert all(compose.interpolate(port, {}).startswith("127.0.0.1:") for port in service["ports"]), name
        assert (service["cap_drop"], service["security_opt"]) == (["ALL"], ["no-new-privileges:true"]), name
        assert service["mem_limit"], name
        assert service["pids_limit"], name
        assert service["healthcheck"]["test"], name
    assert (beside["kafka-ui"]["read_only"], beside["prometheus"]["read_only"]) == (True, True)


def test_a_look_into_the_topics_is_read_only_and_has_a_password() -> None:
    look = compose.document()["services"]["kafka-ui"]["environment"]
    assert look["KAFKA_CLUSTERS_0_READONLY"] == "true"
    assert look["AUTH_TYPE"] == "LOGIN_FORM"
    assert compose.interpolate(look["SPRING_SECURITY_USER_PASSWORD"], DRAWN) == DRAWN["KAFKA_UI_PASSWORD"]


def test_prometheus_reaches_what_it_scrapes_and_grafana_reaches_prometheus() -> None:
    services = compose.document()["services"]
    [scraped] = yaml.safe_load((compose.ROOT / "deploy/prometheus/prometheus.yml").read_text())["scrape_configs"]
    targets = [target.partition(":")[0] for found in scraped["static_configs"] for target in found["targets"]]
    assert sorted(targets) == sorted(SERVICES)
    seen_from = {name: set(services[name]["networks"]) for name in (*targets, "prometheus", "grafana")}
    assert [name for name in targets if not seen_from[name] & seen_from["prometheus"]] == []
    assert seen_from["grafana"] & seen_from["prometheus"] == {"outside"}
    provisioned = (compose.ROOT / "deploy/grafana/provisioning/datasources/prometheus.yml").read_text()
    [source] = yaml.safe_load(provisioned)["datasources"]
    assert source["url"] == "http://prometheus:9090"
    # What is provisioned lies where the container looks for it.
    mounted = dict(one.split(":")[:2] for one in services["grafana"]["volumes"])
    provider = yaml.safe_load((compose.ROOT / "deploy/grafana/provisioning/dashboards/leadline.yml").read_text())
    assert mounted["./deploy/grafana/dashboards"] == provider["providers"][0]["options"]["path"]


def test_images_of_others_have_a_version_and_can_be_pinned_to_what_was_pulled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = compose.FILE.read_text()
    services = yaml.safe_load(text)["services"]
    others = {service["image"] for service in services.values() if "build" not in service}
    built_on = {service["build"]["args"]["PYTHON_IMAGE"] for service in services.values() if "build" in service}
    known = image_digests.images(text)
    assert {f"${{{name}:-{tag}}}" for name, tag in known.items()} == others | built_on
    assert all(re.search(r":v?\d", tag) for tag in known.values())
    [default] = re.findall(
        r"^ARG PYTHON_IMAGE=(.+)$", (compose.ROOT / "deploy" / "Dockerfile").read_text(), re.MULTILINE
    )
    assert known["PYTHON_IMAGE"] == default

    docker = tmp_path / "docker"
    docker.write_text(f"#!/bin/sh\ncase $* in *postgres*) echo 'postgres@sha256:{'ab' * 32}';; *) exit 1;; esac\n")
    docker.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.chdir(tmp_path)
    Path(".env").write_text("LEADLINE_PORT=9000\nPOSTGRES_IMAGE=postgres@sha256:old\n")
    assert image_digests.main() == 1, "the others were not pulled"
    assert Path(".env").read_text() == f"LEADLINE_PORT=9000\nPOSTGRES_IMAGE=postgres@sha256:{'ab' * 32}\n"


def test_the_image_for_home_serves_beyond_its_loopback_and_keeps_its_state_in_the_volume(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    dockerfile = (compose.ROOT / "deploy" / "Dockerfile").read_text()
    [stage] = re.findall(r"^FROM installed AS home\n(.*?)^FROM ", dockerfile, re.MULTILINE | re.DOTALL)
    command = json.loads(stage.rpartition("\nCMD ")[2])
    asked: list[run.Options] = []
    monkeypatch.setattr(run, "up", asked.append)
    monkeypatch.setenv("LEADLINE_STATE", re.findall(r"LEADLINE_STATE=(\S+)", stage)[0])
    assert command[0] == "leadline"
    monkeypatch.setattr(sys, "argv", command)
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 0
    assert [(of.bind, str(of.state)) for of in asked] == [("0.0.0.0", "/data")]
    assert "\nVOLUME /data\n" in stage
    assert "\nUSER 10001\n" in stage


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
    # Five interpreters that start at once on two busy cores have taken more than a minute and a half until they were ready.
    assert {services[service]["healthcheck"]["start_period"] for service in (*SERVICES, "kafka")} == {"120s"}


def test_only_the_coordinator_is_published_and_only_on_this_machine() -> None:
    published = {name: service["ports"] for name, service in compose.load().items() if "ports" in service}
    assert list(published) == ["coordinator"]
    assert compose.interpolate(published["coordinator"][0], {}).startswith("127.0.0.1:")


def test_variables_are_read_as_compose_reads_them() -> None:
    assert compose.interpolate("a ${X:-b} ${Y:-}", {"X": "c"}) == "a c "
    assert compose.interpolate("${X:-b}", {}) == "b"
    assert compose.interpolate("${X:-b}", {"X": ""}) == "b"
    assert [compose.interpolate("${X:+b}", given) for given in ({}, {"X": ""}, {"X": "c"})] == ["", "", "b"]


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
        ("LEADLINE_OIDC_ISSUER", ["coordinator"]),
        ("LEADLINE_OIDC_CLIENT_ID", ["coordinator"]),
        ("LEADLINE_OIDC_REDIRECT_URL", ["coordinator"]),
        ("LEADLINE_MAX_LOTS", ["coordinator"]),
        ("LEADLINE_MAX_SYMBOLS", ["coordinator"]),
        ("LEADLINE_MAX_SESSIONS", ["coordinator"]),
        ("LEADLINE_MAX_LOT_SESSIONS", ["coordinator"]),
        ("LEADLINE_MAX_REQUESTS", ["coordinator"]),
        ("LEADLINE_MAX_STREAMS", ["coordinator"]),
        ("LEADLINE_WEBHOOK_PRIVATE", ["coordinator"]),
        ("LEADLINE_DATA_BAD_ROWS", ["ingest"]),
        ("LEADLINE_SECTOR_FUNDS", ["ingest"]),
        ("LEADLINE_PREVIEW_SYMBOLS", ["ingest"]),
        ("LEADLINE_API_POOL_SIZE", ["coordinator"]),
        ("LEADLINE_RECONCILE_SECONDS", ["coordinator"]),
        ("LEADLINE_KEEP_OUTBOX_DAYS", list(SERVICES)),
        ("LEADLINE_KEEP_IDEMPOTENCY_DAYS", ["coordinator"]),
        ("LEADLINE_KEEP_IDEMPOTENCY_KEYS", ["coordinator"]),
        ("LEADLINE_KEEP_DEAD_LETTERS_DAYS", ["coordinator"]),
        ("LEADLINE_KEEP_HISTORY_DAYS", ["coordinator"]),
        ("LEADLINE_KEEP_RUNS_DAYS", ["coordinator"]),
        ("LEADLINE_KEEP_RISK_SESSIONS", ["coordinator"]),
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


# What .env cannot set, since the file decides it (brokers, passwords, who calls), since it is for tests, or since nobody has to.
DECIDED = {"without_token", "read_only", "drain_seconds", "exit_when_stuck", "log_json", "kafka_idempotence"}
DECIDED |= {"database_password", "api_database_password", "kafka_partitions", "kafka_replication"}
DECIDED |= {"stream_seconds", "retry_poll_seconds", "provider_loopback"}
OF_OTHER_BROKERS = ("kafka_ssl_", "kafka_oauth_")
# Each has a test of its own.
ELSEWHERE = ("oidc_",)


@pytest.mark.parametrize("service", SERVICES)
def test_what_can_be_set_is_passed_on(service: str) -> None:
    """A setting that .env names and no service is told would be ignored without a word."""
    told = set(compose.load()[service]["environment"])
    fields = set(settings_reference.classes()[service].model_fields) - DECIDED
    fields -= {name for name in fields if name.startswith((*OF_OTHER_BROKERS, *ELSEWHERE)) or name.endswith("_url")}
    assert {f"LEADLINE_{name.upper()}" for name in fields} - told == set()


def test_people_can_sign_in_at_a_provider_and_its_secret_is_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every setting of it reaches the coordinator, as its own settings read them, and no other service."""
    services, whole = compose.load(), yaml.safe_load(compose.FILE.read_text())
    fields = {name for name in CoordinatorSettings.model_fields if name.startswith("oidc_")}
    told = {name for name in services["coordinator"]["environment"] if "OIDC" in name}
    secret = {name for name in fields if is_secret(CoordinatorSettings.model_fields[name])}
    assert secret == {"oidc_client_secret"}
    assert told == {f"LEADLINE_{name.upper()}{'_FILE' if name in secret else ''}" for name in fields}
    assert {name for name, of in services.items() if "OIDC" in json.dumps(of)} == {"coordinator"}
    assert {name for name, of in services.items() if "secrets" in of} == {"coordinator"}
    [mounted] = services["coordinator"]["secrets"]
    place = "LEADLINE_OIDC_CLIENT_SECRET_FILE"
    given = {place: str(tmp_path / "secret")}
    source, inside = whole["secrets"][mounted]["file"], services["coordinator"]["environment"][place]
    assert [compose.interpolate(source, of) for of in (given, {})] == [given[place], "/dev/null"]
    assert [compose.interpolate(inside, of) for of in (given, {})] == [f"/run/secrets/{mounted}", ""]
    (tmp_path / "secret").write_text("the-clients-own-secret\n")
    monkeypatch.setenv(place, "")
    assert CoordinatorSettings().oidc_client_secret is None
    monkeypatch.setenv(place, given[place])
    read = CoordinatorSettings().oidc_client_secret
    assert read is not None
    assert read.get_secret_value() == "the-clients-own-secret"


def test_scenarios_of_ones_own_can_be_mounted() -> None:
    services = compose.load()
    assert services["risk"]["volumes"] == services["ingest"]["volumes"]
