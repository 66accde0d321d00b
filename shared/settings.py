"""Settings every service has. One prefix, `LEADLINE_`; services add their own fields in their own module.

A secret may stand in a file instead, as orchestrators mount them: `LEADLINE_KAFKA_PASSWORD_FILE=/run/secrets/kafka` is read at the
start, and the line end behind its content is none of it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any, Literal, Self
from urllib.parse import quote, urlsplit, urlunsplit

from pydantic import Field, JsonValue, SecretStr, field_validator, model_validator
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from shared.errors import ConfigurationError

PREFIX = "LEADLINE_"
FILE_SUFFIX = "_FILE"
SecurityProtocol = Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"]
SaslMechanism = Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"]
# What a field says of itself when its value must not be shown, though its type does not tell.
SECRET: dict[str, JsonValue] = {"secret": True}


def read_secret(name: str, environment: Mapping[str, str] | None = None) -> str | None:
    """A secret from the variable `name`, or from the file that the variable with `_FILE` behind it names; None: neither is set.

    Raises `ConfigurationError` if both are, or the file cannot be read.
    """
    found = os.environ if environment is None else environment
    value, path = found.get(name), found.get(name + FILE_SUFFIX)
    if not path:
        return value
    if value:
        raise ConfigurationError(f"{name} and {name}{FILE_SUFFIX} are both set: keep one of them")
    try:
        return Path(path).read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        said = error.strerror if isinstance(error, OSError) else "it is no UTF-8"
        raise ConfigurationError(f"{name}{FILE_SUFFIX} names {path}, which cannot be read: {said}") from error


def is_secret(field: FieldInfo) -> bool:
    """Whether a field's value may come from a file of its own."""
    extra = field.json_schema_extra
    return "SecretStr" in str(field.annotation) or (isinstance(extra, dict) and extra.get("secret") is True)


def with_password(address: str, password: SecretStr | None) -> str:
    """A database's address with a password in it; the address as it is without one."""
    if password is None:
        return address
    parts = urlsplit(address)
    user, _, host = parts.netloc.rpartition("@")
    return urlunsplit(parts._replace(netloc=f"{user}:{quote(password.get_secret_value(), safe='')}@{host}"))


class _SecretFiles(PydanticBaseSettingsSource):
    """The files that `LEADLINE_<FIELD>_FILE` name, for fields that are secrets."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        name = PREFIX + field_name.upper()
        if not is_secret(field) or not os.environ.get(name + FILE_SUFFIX):
            return None, field_name, False
        return read_secret(name), field_name, False

    def __call__(self) -> dict[str, Any]:
        found = {name: self.get_field_value(field, name)[0] for name, field in self.settings_cls.model_fields.items()}
        return {name: value for name, value in found.items() if value is not None}


class ServiceSettings(BaseSettings):
    """Read from the environment; frozen, so that what was started is what runs."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        frozen=True,
        extra="ignore",
        populate_by_name=True,
        env_ignore_empty=True,
        # What is refused may hold a password.
        hide_input_in_errors=True,
    )

    database_url: str = Field(
        default="postgresql://localhost:5432/leadline",
        description="PostgreSQL, as the service's own role: postgresql://leadline_risk:secret@host/leadline?sslmode=verify-full",
        json_schema_extra=SECRET,
    )
    database_password: SecretStr | None = Field(
        default=None, description="Password of that role, where the address has none; any characters may be in it"
    )
    kafka: str = Field(default="localhost:9092", description="Bootstrap servers, host:port separated by commas")
    kafka_namespace: str = Field(
        default="",
        pattern=r"^[A-Za-z0-9._-]*$",
        description="Put before every topic and group, to share a cluster: `staging.`",
    )
    kafka_security_protocol: SecurityProtocol = Field(
        default="PLAINTEXT", description="How brokers are spoken to: PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL"
    )
    kafka_sasl_mechanism: SaslMechanism | None = Field(
        default=None, description="With SASL: PLAIN, SCRAM-SHA-256, SCRAM-SHA-512 or OAUTHBEARER"
    )
    kafka_username: str | None = Field(default=None, description="With PLAIN and SCRAM: who signs in")
    kafka_password: SecretStr | None = Field(default=None, description="With PLAIN and SCRAM: the password")
    kafka_ssl_ca: Path | None = Field(
        default=None,
        description="PEM file of the authorities that signed the brokers' certificates; unset: the system's",
    )
    kafka_ssl_cert: Path | None = Field(
        default=None, description="PEM file of our own certificate and its chain, where brokers ask for one"
    )
    kafka_ssl_key: Path | None = Field(
        default=None, description="PEM file of that certificate's key; unset: it is in the same file"
    )
    kafka_ssl_key_password: SecretStr | None = Field(default=None, description="Password of that key, if it has one")
    kafka_ssl_check_hostname: bool = Field(
        default=True, description="Brokers' certificates must be for the names that they are called by"
    )
    kafka_oauth_token_url: str | None = Field(
        default=None, description="With OAUTHBEARER: where a token is asked for with client credentials"
    )
    kafka_oauth_client_id: str | None = Field(default=None, description="With OAUTHBEARER: the client's name there")
    kafka_oauth_client_secret: SecretStr | None = Field(default=None, description="With OAUTHBEARER: its secret")
    kafka_oauth_scope: str | None = Field(default=None, description="With OAUTHBEARER: scopes, separated by blanks")
    kafka_oauth_token_path: Path | None = Field(
        default=None, description="With OAUTHBEARER, instead: a file in which somebody else keeps a valid token"
    )
    kafka_idempotence: bool = Field(
        default=True, description="Idempotent producer; off only for a broker that rejects it (the embedded one)"
    )
    kafka_partitions: int = Field(
        default=6, ge=1, description="Partitions of a topic created by us; bounds the replicas"
    )
    kafka_replication: int = Field(default=1, ge=1, description="Replication factor of a topic created by us")
    as_of: date | None = Field(
        default=None, description="Time stands still once this session is due; for demos and tests"
    )
    log_level: str = Field(default="INFO", description="DEBUG, INFO, WARNING or ERROR")
    log_json: bool = Field(default=True, description="JSON lines; off for people")
    pool_size: int = Field(default=8, ge=4, description="Database connections per service")
    keep_outbox_days: int = Field(default=2, ge=2, description="Days that events which were sent stay in the outbox")
    drain_seconds: float = Field(
        default=2.0, ge=0, description="On SIGTERM, how long `/readyz` fails before the port is closed"
    )
    exit_when_stuck: bool = Field(
        default=True, description="End the process (code 70) when only a restart would help; needs a supervisor"
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        *_: PydanticBaseSettingsSource,
        **__: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return init_settings, env_settings, _SecretFiles(settings_cls)

    @property
    def database_address(self) -> str:
        """`database_url` with `database_password` in it."""
        return with_password(self.database_url, self.database_password)

    @field_validator("kafka_security_protocol", "kafka_sasl_mechanism", mode="before")
    @classmethod
    def _upper(cls, value: object) -> object:
        return value.strip().upper() if isinstance(value, str) else value

    @model_validator(mode="after")
    def _check_database_password(self) -> Self:
        if self.database_password is None:
            return self
        user, _, _ = urlsplit(self.database_url).netloc.rpartition("@")
        if not user or ":" in user:
            raise ValueError(
                "LEADLINE_DATABASE_PASSWORD goes with an address that names a role and has no password itself: "
                "postgresql://leadline_risk@host/leadline"
            )
        return self

    @model_validator(mode="after")
    def _check_kafka_security(self) -> Self:
        """What is set must fit together: a certificate that nothing uses, or a password that is sent nowhere, is a mistake."""
        wrong = [
            *_sasl_faults(self),
            *_oauth_faults(self),
            *_tls_faults(self),
        ]
        if wrong:
            raise ValueError("; ".join(wrong))
        return self


def _variables_set(settings: ServiceSettings, *names: str) -> list[str]:
    """Which of these fields are set, as variables."""
    return [PREFIX + name.upper() for name in names if getattr(settings, name) is not None]


def _missing_variables(settings: ServiceSettings, *names: str) -> list[str]:
    return [PREFIX + name.upper() for name in names if getattr(settings, name) is None]


def _sasl_faults(settings: ServiceSettings) -> list[str]:
    protocol, mechanism = settings.kafka_security_protocol, settings.kafka_sasl_mechanism
    credentials = ("kafka_username", "kafka_password")
    if not protocol.startswith("SASL"):
        unused = _variables_set(settings, "kafka_sasl_mechanism", *credentials)
        return [f"{', '.join(unused)} need LEADLINE_KAFKA_SECURITY_PROTOCOL=SASL_SSL"] if unused else []
    if mechanism is None:
        return ["LEADLINE_KAFKA_SASL_MECHANISM is missing: PLAIN, SCRAM-SHA-256, SCRAM-SHA-512 or OAUTHBEARER"]
    if mechanism == "OAUTHBEARER":
        unused = _variables_set(settings, *credentials)
        return [f"{', '.join(unused)} are for PLAIN and SCRAM, not for OAUTHBEARER"] if unused else []
    absent = _missing_variables(settings, *credentials)
    return [f"{mechanism} needs {' and '.join(absent)}"] if absent else []


def _oauth_faults(settings: ServiceSettings) -> list[str]:
    asked = ("kafka_oauth_token_url", "kafka_oauth_client_id", "kafka_oauth_client_secret")
    given = _variables_set(settings, *asked, "kafka_oauth_scope", "kafka_oauth_token_path")
    if settings.kafka_sasl_mechanism != "OAUTHBEARER":
        return [f"{', '.join(given)} need LEADLINE_KAFKA_SASL_MECHANISM=OAUTHBEARER"] if given else []
    if settings.kafka_oauth_token_path is not None:
        others = [name for name in given if not name.endswith("_TOKEN_PATH")]
        return [f"LEADLINE_KAFKA_OAUTH_TOKEN_PATH and {', '.join(others)}: keep one way to a token"] if others else []
    absent = _missing_variables(settings, *asked)
    return [f"OAUTHBEARER needs {' and '.join(absent)}, or LEADLINE_KAFKA_OAUTH_TOKEN_PATH"] if absent else []


def _tls_faults(settings: ServiceSettings) -> list[str]:
    files = ("kafka_ssl_ca", "kafka_ssl_cert", "kafka_ssl_key")
    if not settings.kafka_security_protocol.endswith("SSL"):
        unused = _variables_set(settings, *files, "kafka_ssl_key_password")
        return [f"{', '.join(unused)} need LEADLINE_KAFKA_SECURITY_PROTOCOL=SSL or SASL_SSL"] if unused else []
    if settings.kafka_ssl_cert is None and (
        unused := _variables_set(settings, "kafka_ssl_key", "kafka_ssl_key_password")
    ):
        return [f"{', '.join(unused)} need LEADLINE_KAFKA_SSL_CERT"]
    return []
