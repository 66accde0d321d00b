"""The Helm chart: what it renders, and what Kubernetes and KEDA would say of it. `make chart` runs all of it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import pytest

from deploy.topics import main as topics_main
from services.coordinator.settings import CoordinatorSettings
from services.ingest.settings import IngestSettings
from services.risk.settings import RiskSettings
from shared.db import migrate
from shared.db.roles import SERVICES, role_of
from shared.settings import ServiceSettings, is_secret
from tests.support import charts

COMPUTE = [service for service in SERVICES if service != "coordinator"]
FULL: Mapping[str, Any] = {
    "database": {
        "tlsSecret": "database-tls",
        "parameters": "sslmode=verify-full&sslrootcert=/etc/leadline/database/ca.crt",
    },
    "kafka": {"tlsSecret": "kafka-tls", "namespace": "prod."},
    "autoscaling": {"enabled": True, "secret": "keda"},
    "ingress": {"enabled": True, "host": "leadline.example.org", "tlsSecret": "front"},
    "data": {"claim": "prices", "file": "prices.parquet", "scenarios": "ours.yaml"},
    "providersSecret": "vendors",
    "settings": {"LEADLINE_LOG_LEVEL": "DEBUG", "LEADLINE_POOL_SIZE": 8},
    "imagePullSecrets": [{"name": "registry"}],
    "networkPolicy": {"clients": [{"namespaceSelector": {}}], "egress": [{"ports": [{"port": 4318}]}]},
}
VARIANTS: Mapping[str, Mapping[str, Any]] = {
    "least": {},
    "full": FULL,
    "plain": {"kafka": {"protocol": "PLAINTEXT", "mechanism": "", "secret": ""}, "networkPolicy": {"enabled": False}},
    "mutual": {"kafka": {"protocol": "SSL", "mechanism": "", "tlsSecret": "t"}, "autoscaling": {"enabled": True}},
    "openid": {
        "oidc": {
            "issuer": "https://login.example.org",
            "redirectUrl": "https://leadline.example.org/sign-in/openid/callback",
            "secret": "sign-in",
        }
    },
    "oauth": {"kafka": {"mechanism": "OAUTHBEARER", "oauth": {"tokenUrl": "https://t.example.org", "clientId": "c"}}},
    "one": {"services": {"api": {"replicas": 0, "resources": {}}}, "token": {"secret": ""}},
}


@pytest.fixture(scope="module")
def rendered() -> dict[str, list[dict[str, Any]]]:
    if os.environ.get("LEADLINE_TEST_CHART") == "1":
        charts.fetch()
    if charts.helm() is None:
        pytest.skip("`helm` is not on PATH: `make chart` fetches it")
    return {name: charts.render(values) for name, values in VARIANTS.items()}


Rendered = dict[str, list[dict[str, Any]]]


def of(documents: list[dict[str, Any]], kind: str) -> dict[str, dict[str, Any]]:
    return {
        document["metadata"]["name"].removeprefix("lead-"): document
        for document in documents
        if document["kind"] == kind
    }


def pod(document: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = document["spec"]["template"]["spec"]
    return found


def environment(document: dict[str, Any]) -> dict[str, Any]:
    return {one["name"]: one.get("value") for one in pod(document)["containers"][0]["env"]}


def test_schemas_know_every_word(rendered: Rendered) -> None:
    if not (charts.FETCHED / "keda.zip").exists():
        pytest.skip("the schemas are not here: `make chart` fetches them")
    found = [fault for documents in rendered.values() for document in documents for fault in charts.faults(document)]
    assert found == []


def test_a_word_that_no_schema_knows_is_found(rendered: Rendered) -> None:
    if not (charts.FETCHED / "keda.zip").exists():
        pytest.skip("the schemas are not here: `make chart` fetches them")
    for kind, name in (("Deployment", "risk"), ("ScaledObject", "risk")):
        document = of(rendered["full"], kind)[name]
        assert charts.faults({**document, "spec": {**document["spec"], "replica": 2}}), kind


def test_helm_itself_finds_nothing(rendered: Rendered) -> None:
    assert "0 chart(s) failed" in charts.lint(FULL)


@pytest.mark.parametrize("variant", VARIANTS)
def test_services_are_told_what_their_settings_know(
    rendered: Rendered, variant: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    """The environment of each pod makes valid settings, with its own role and its own user."""
    classes: dict[str, type[ServiceSettings]] = {
        "coordinator": CoordinatorSettings,
        "api": CoordinatorSettings,
        "ingest": IngestSettings,
        "risk": RiskSettings,
    }
    known = {f"LEADLINE_{field.upper()}" for kind in classes.values() for field in kind.model_fields}
    secret = tmp_path / "secret"
    secret.write_text("a secret of sixteen or more\n")
    for service, document in of(rendered[variant], "Deployment").items():
        told = environment(document)
        assert {name.removesuffix("_FILE") for name in told} - known == set(), service
        with monkeypatch.context() as patched:
            for name, value in told.items():
                if value is not None:
                    patched.setenv(name, str(secret) if name.endswith("_FILE") else value)
            made = classes.get(service, RiskSettings)()
        role = role_of("coordinator" if service == "api" else service)
        assert made.database_address.startswith(f"postgresql://{role}:a%20secret%20of"), service
        assert made.kafka_username in (role, None), service


def test_people_can_sign_in_at_a_provider_and_its_secret_is_a_file(rendered: Rendered) -> None:
    """Every setting of it reaches whoever answers HTTP; pods that compute know nothing of it, and nobody does where it is not set."""
    fields = {name: of for name, of in CoordinatorSettings.model_fields.items() if name.startswith("oidc_")}
    named = {f"LEADLINE_{name.upper()}{'_FILE' if is_secret(of) else ''}" for name, of in fields.items()}
    for variant, documents in rendered.items():
        for service, document in of(documents, "Deployment").items():
            told = {name: value for name, value in environment(document).items() if "OIDC" in name}
            expected = named if variant == "openid" and service in ("api", "coordinator") else set()
            assert set(told) == expected, (variant, service)
            sources = next(each for each in pod(document)["volumes"] if each["name"] == "secrets")["projected"]
            mounted = {
                f"/etc/leadline/secrets/{item['path']}": source["secret"]["name"]
                for source in sources["sources"]
                for item in source["secret"]["items"]
            }
            read = {mounted[value] for name, value in told.items() if name.endswith("_FILE")}
            assert read == ({"sign-in"} if expected else set()), (variant, service)
            assert ("sign-in" in mounted.values()) == bool(expected), (variant, service)
    way_out = of(rendered["openid"], "NetworkPolicy")["sign-in"]["spec"]
    assert way_out["podSelector"]["matchLabels"]["app.kubernetes.io/component"] == "api"
    assert way_out["egress"] == [{"ports": [{"port": 443, "protocol": "TCP"}]}]


def test_control_runs_in_one_place_and_readers_apart(rendered: Rendered) -> None:
    documents = of(rendered["full"], "Deployment")
    factories = {name: pod(document)["containers"][0]["command"][1] for name, document in documents.items()}
    assert factories["coordinator"] == "services.coordinator.app:create_app"
    assert factories["api"] == "services.coordinator.app:create_api"
    served = {name: of(rendered[name], "Service")["api"]["spec"]["selector"] for name in ("full", "one")}
    assert served["full"]["app.kubernetes.io/component"] == "api"
    assert served["one"]["app.kubernetes.io/component"] == "coordinator"
    assert "api" not in of(rendered["one"], "Deployment")


def test_jobs_run_before_anything_is_replaced(rendered: Rendered) -> None:
    jobs = of(rendered["full"], "Job")
    commands = {name: pod(job)["containers"][0]["command"][-1] for name, job in jobs.items()}
    assert commands == {"migrate": migrate.__name__, "topics": topics_main.__module__}
    for job in jobs.values():
        assert job["metadata"]["annotations"]["helm.sh/hook"] == "pre-install,pre-upgrade"
    # A service knows neither the administrator nor another's password.
    for name, document in of(rendered["full"], "Deployment").items():
        sources = next(volume for volume in pod(document)["volumes"] if volume["name"] == "secrets")["projected"][
            "sources"
        ]
        keys = {item["key"] for source in sources for item in source["secret"]["items"]}
        http = {"coordinator", "api", "token"}
        assert keys == (http if name in http else {name})


def test_pods_are_confined(rendered: Rendered) -> None:
    documents = [document for document in rendered["full"] if document["kind"] in ("Deployment", "Job")]
    for document in documents:
        assert pod(document)["securityContext"]["runAsNonRoot"] is True
        assert pod(document)["automountServiceAccountToken"] is False
        (container,) = pod(document)["containers"]
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert set(container["resources"]) == {"requests", "limits"}
        written = {mount["mountPath"] for mount in container["volumeMounts"] if not mount.get("readOnly")}
        assert written == {"/tmp"}  # noqa: S108 (in memory, and the only place)


def test_pods_drain_before_they_are_killed_and_are_asked_how_they_are(rendered: Rendered) -> None:
    for name, document in of(rendered["full"], "Deployment").items():
        (container,) = pod(document)["containers"]
        # 45 s for the handler that runs, and what stands before and after it.
        assert pod(document)["terminationGracePeriodSeconds"] >= 45 + int(
            environment(document)["LEADLINE_DRAIN_SECONDS"]
        )
        paths = {kind: container[f"{kind}Probe"]["httpGet"]["path"] for kind in ("startup", "liveness", "readiness")}
        assert paths == {"startup": "/livez", "liveness": "/livez", "readiness": "/readyz"}, name
        assert of(rendered["full"], "PodDisruptionBudget")[name]["spec"]["maxUnavailable"] == 1


def test_lag_scales_what_computes_and_nothing_else(rendered: Rendered) -> None:
    scaled = of(rendered["full"], "ScaledObject")
    assert sorted(scaled) == sorted(COMPUTE)
    for service, document in scaled.items():
        spec = document["spec"]
        assert (spec["minReplicaCount"], spec["maxReplicaCount"]) == (1, 6)
        (trigger,) = spec["triggers"]
        assert trigger["metadata"]["consumerGroup"] == f"prod.leadline-{service}"
        assert (trigger["metadata"]["lagThreshold"], trigger["metadata"]["sasl"]) == ("1", "scram_sha512")
        assert "replicas" not in of(rendered["full"], "Deployment")[service]["spec"]
    assert of(rendered["mutual"], "ScaledObject")["risk"]["spec"]["triggers"][0]["metadata"]["tls"] == "enable"


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"autoscaling": {"enabled": True, "maxReplicas": 7}}, "a consumer without a partition does nothing"),
        ({"autoscaling": {"enabled": True, "cooldownSeconds": 60}}, "must be above drainSeconds"),
        ({"database": {"host": ""}}, "host"),
        ({"kafka": {"mechanism": ""}}, "kafka.mechanism is needed with SASL"),
        ({"services": {"coordinator": {"replicas": 0, "resources": {}}}}, "replicas"),
        ({"ingress": {"enabled": True}}, "ingress.host is needed"),
        ({"settings": {"PATH": "x"}}, "PATH"),
        ({"drainSeconds": 30}, "drainSeconds"),
        ({"oidc": {"issuer": "https://login.example.org"}}, "oidc.secret is needed"),
        ({"oidc": {"issuer": "https://login.example.org", "secret": "s", "clientId": ""}}, "oidc.clientId is needed"),
        ({"oidc": {"issuer": "http://login.example.org", "secret": "s"}}, "issuer"),
        ({"oidc": {"clientSecret": "told-to-everybody"}}, "clientSecret"),
    ],
)
def test_values_that_cannot_work_are_refused(rendered: Rendered, values: Mapping[str, Any], said: str) -> None:
    with pytest.raises(charts.ChartRefused, match=said):
        charts.render(values)


def test_only_ingest_reaches_the_network(rendered: Rendered) -> None:
    policies = of(rendered["full"], "NetworkPolicy")
    everywhere = [
        name
        for name, policy in policies.items()
        for rule in policy["spec"].get("egress", [])
        if any(port["port"] == 443 for port in rule["ports"])
    ]
    assert everywhere == ["vendors"]
    assert policies["vendors"]["spec"]["podSelector"]["matchLabels"]["app.kubernetes.io/component"] == "ingest"
