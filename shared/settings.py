"""Settings every service has. One prefix, `LEADLINE_`; services add their own fields in their own module."""

from __future__ import annotations

from datetime import date

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class ServiceSettings(BaseSettings):
    """Read from the environment; frozen, so that what was started is what runs."""

    model_config = SettingsConfigDict(
        env_prefix="LEADLINE_", frozen=True, extra="ignore", populate_by_name=True, env_ignore_empty=True
    )

    database_url: str = Field(
        default="postgresql://localhost:5432/leadline",
        description="PostgreSQL, as the service's own role: postgresql://leadline_risk:secret@host/leadline",
    )
    kafka: str = Field(default="localhost:9092", description="Bootstrap servers, host:port separated by commas")
    kafka_namespace: str = Field(
        default="",
        pattern=r"^[A-Za-z0-9._-]*$",
        description="Put before every topic and group, to share a cluster: `staging.`",
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
