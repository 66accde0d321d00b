"""The chart, rendered by Helm and held against Kubernetes' and KEDA's own schemas.

Helm is taken from PATH or from `build/chart/bin`; schemas from `build/chart`. `make chart` fetches what is missing, from the module
proxy and the package index.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]

ROOT = Path(__file__).parents[2]
CHART = ROOT / "deploy" / "helm"
FETCHED = ROOT / "build" / "chart"
HELM = "helm.sh/helm/v3/cmd/helm@v3.22.0"
KEDA = "github.com/kedacore/keda/v2@v2.21.0"
KUBERNETES_SCHEMAS = "kubernetes-validate==1.37.0"
KUBERNETES = "v1.35.0"
FETCH_SECONDS = 900
# What every installation has to say.
NEEDED = {"database": {"host": "postgres.example.org"}, "kafka": {"bootstrapServers": "kafka.example.org:9093"}}


class ChartRefused(Exception):
    """Helm does not render the chart with these values; the message is its own."""


def helm() -> str | None:
    """Path of the program; None where it is not installed."""
    return shutil.which("helm", path=f"{FETCHED / 'bin'}{os.pathsep}{os.environ.get('PATH', '')}")


def fetch() -> None:
    """Helm, if there is none, and the schemas."""
    FETCHED.mkdir(parents=True, exist_ok=True)
    if helm() is None:
        _run(["go", "install", HELM], GOBIN=str(FETCHED / "bin"))
    if not list(FETCHED.glob("kubernetes_validate-*.whl")):
        _run([sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", str(FETCHED), KUBERNETES_SCHEMAS])
    if not (FETCHED / "keda.zip").exists():
        found = json.loads(_run(["go", "mod", "download", "-json", KEDA]))
        shutil.copy(found["Zip"], FETCHED / "keda.zip")


def _run(command: list[str], **environment: str) -> str:
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=True,
        timeout=FETCH_SECONDS,
        env=os.environ | environment,
        cwd="/",
    )
    return done.stdout


def render(*values: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The documents that Helm makes with `NEEDED` and these values. Raises `ChartRefused`."""
    found = _helm("template", "lead", str(CHART), "--kube-version", KUBERNETES, values=(NEEDED, *values))
    return [document for document in yaml.safe_load_all(found) if document]


def lint(*values: Mapping[str, Any]) -> str:
    """What Helm's own check says. Raises `ChartRefused` for a warning or an error."""
    return _helm("lint", str(CHART), "--strict", values=(NEEDED, *values))


def _helm(*command: str, values: tuple[Mapping[str, Any], ...]) -> str:
    program = helm()
    assert program is not None
    merged: dict[str, Any] = {}
    for part in values:
        for name, value in part.items():
            merged[name] = {**merged.get(name, {}), **value} if isinstance(value, Mapping) else value
    done = subprocess.run(
        [program, *command, "-f", "-"],
        input=yaml.safe_dump(merged),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    if done.returncode != 0:
        raise ChartRefused(done.stdout + done.stderr)
    return done.stdout


@lru_cache(maxsize=32)
def _schema(version: str, kind: str) -> dict[str, Any]:
    """The schema of a kind; what it does not name is refused. Raises `KeyError` for a kind that is not known."""
    group = version.split("/", maxsplit=1)[0]
    if group == "keda.sh":
        with zipfile.ZipFile(FETCHED / "keda.zip") as archive:
            name = next(one for one in archive.namelist() if one.endswith(f"crd/bases/keda.sh_{kind.lower()}s.yaml"))
            definition = yaml.safe_load(archive.read(name))
        found = next(one for one in definition["spec"]["versions"] if version.endswith(one["name"]))
        closed: dict[str, Any] = _closed(found["schema"]["openAPIV3Schema"])
        return closed
    wheel = next(FETCHED.glob("kubernetes_validate-*.whl"))
    suffix = version.replace(".k8s.io", "").replace("/", "-")
    with zipfile.ZipFile(wheel) as archive:
        directory = f"kubernetes_validate/kubernetes-json-schema/{KUBERNETES}-local-strict"
        loaded: dict[str, Any] = json.loads(archive.read(f"{directory}/{kind.lower()}-{suffix}.json"))
        loaded["$defs"] = json.loads(archive.read(f"{directory}/_definitions.json"))["$defs"]
    loaded.pop("$id", None)
    # References are to a document on the network, of which this is all that is wanted.
    local: dict[str, Any] = json.loads(re.sub(r'"/api/(_definitions\.json)?#/', '"#/', json.dumps(loaded)))
    return local


def _closed(schema: Any) -> Any:
    """A definition's schema in which what is not named is refused, as the API server drops it silently."""
    if isinstance(schema, list):
        return [_closed(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    made = {name: _closed(part) for name, part in schema.items()}
    if "properties" in schema and schema.get("type") == "object" and "additionalProperties" not in schema:
        # The root names `metadata` without what is in it.
        made["additionalProperties"] = bool(schema.get("x-kubernetes-preserve-unknown-fields", False))
    return made


def faults(document: Mapping[str, Any]) -> list[str]:
    """What is wrong with a document by its schema, a line each."""
    validator = Draft202012Validator(_schema(document["apiVersion"], document["kind"]))
    where = f"{document['kind']} {document['metadata']['name']}"
    return [
        f"{where}: {'.'.join(map(str, error.absolute_path))}: {error.message}"[:400]
        for error in validator.iter_errors(document)
    ]
