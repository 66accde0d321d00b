"""The table of settings in docs/configuration.md, from the settings classes: `python -m deploy.export_docs` writes it."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from enum import Enum
from pathlib import Path

from pydantic import SecretStr
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from shared.db.roles import SERVICES
from shared.settings import FILE_SUFFIX, PREFIX, ServiceSettings, is_secret

BEGIN = "<!-- settings: written by python -m deploy.export_docs -->"
END = "<!-- end of settings -->"
TOPIC_JOB_ONLY = ("kafka_partitions", "kafka_replication")
# What a field cannot say of itself: where this document goes on.
MORE = {
    "data_bad_rows": "([Price files](#price-files))",
    "token": "([who may call](#who-may-call)); the client sends it; `leadline up` draws its own",
    "hosts": "([why](#who-may-call))",
    "kafka_security_protocol": "([Kafka that asks who is there](#kafka-that-asks-who-is-there))",
    "database_url": "([TLS](#postgresql-over-tls))",
    "massive_api_key": "",
}
# What is read elsewhere than by a service: variable, default, who reads it, meaning.
OTHERS = (
    ("LEADLINE_URL", "http://127.0.0.1:8000", "client", "where the coordinator is"),
    ("LEADLINE_STATE", "", "`up`, `demo`, `doctor`, client", "state directory of the embedded run; the client takes the token from there"),
    ("LEADLINE_ADMIN_DATABASE_URL", "", "migrations", "PostgreSQL, as a role that may create roles and schemas; or `…_FILE`"),
    ("LEADLINE_SUPERUSER_DATABASE_URL", "", "`shared.db.bootstrap`", "a superuser's address, once; or `…_FILE`"),
    ("LEADLINE_MIGRATOR_PASSWORD", "", "`shared.db.bootstrap`", "password that the migrating role gets; or `…_FILE`"),
    ("LEADLINE_LOG_MB", "50", "`up`", "size at which `leadline.log` is moved to `leadline.log.1`, over an older one"),
    ("LEADLINE_<SERVICE>_PASSWORD", "", "migrations", "password that a service's role is given; or `…_FILE`"),
    ("OTEL_EXPORTER_OTLP_ENDPOINT", "", "services", "where traces go; unset: tracing is off"),
)  # fmt: skip


def classes() -> dict[str, type[ServiceSettings]]:
    """The settings class of each service."""
    found = {}
    for service in SERVICES:
        made = getattr(importlib.import_module(f"services.{service}.settings"), f"{service.capitalize()}Settings")
        assert issubclass(made, ServiceSettings)
        found[service] = made
    return found


def table() -> str:
    """The rows, common settings first."""
    lines = ["| variable | default | read by | meaning |", "|---|---|---|---|"]
    lines += [f"| `{name}` | {default} | {readers} | {meaning} |" for name, default, readers, meaning in _rows()]
    return "\n".join(lines)


def _rows() -> Iterator[tuple[str, str, str, str]]:
    fields: dict[str, FieldInfo] = dict(ServiceSettings.model_fields)
    readers: dict[str, list[str]] = {}
    for service, settings in classes().items():
        for name, field in settings.model_fields.items():
            fields.setdefault(name, field)
            readers.setdefault(name, []).append(service)
    for name, field in fields.items():
        described = (field.description or "").replace("|", "\\|")
        said = f"{described[:1].lower()}{described[1:]}" if described.split(" ")[0][1:].islower() else described
        if is_secret(field):
            said += f"; or `…{FILE_SUFFIX}`"
        who = "services" if len(readers[name]) == len(SERVICES) else ", ".join(readers[name])
        yield (
            PREFIX + name.upper(),
            _default(field),
            "topic creation" if name in TOPIC_JOB_ONLY else who,
            " ".join(filter(None, [said, MORE.get(name)])),
        )
    for name, default, who, meaning in OTHERS:
        yield name, f"`{default}`" if default else "–", who, meaning


def _default(field: FieldInfo) -> str:
    value = field.default
    if value is None or value is PydanticUndefined or value in ("", ()) or isinstance(value, SecretStr):
        return "–"
    if isinstance(value, tuple):
        return f"`{','.join(map(str, value))}`"
    if isinstance(value, Enum):
        value = value.value
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return f"`{value:g}`" if isinstance(value, float) else f"`{value}`"


def update_table(document: Path) -> str:
    """The document with its table as the classes have it now."""
    before, _, rest = document.read_text(encoding="utf-8").partition(BEGIN)
    _, found, after = rest.partition(END)
    assert found, f"{document} has no place for the table of settings"
    return f"{before}{BEGIN}\n\n{table()}\n\n{END}{after}"
