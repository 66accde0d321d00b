"""What the coordinator reads from the environment beside what every service has."""

from __future__ import annotations

import re
from typing import Annotated, Self
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import NoDecode, SettingsConfigDict

from shared.settings import SECRET, ServiceSettings, with_password

_HOST = re.compile(r"\*|\[[0-9a-f:.]+\]|[a-z0-9_](?:[a-z0-9._-]*[a-z0-9_])?")
MIN_TOKEN = 16


class CoordinatorSettings(ServiceSettings):
    """Prefix `LEADLINE_`, frozen."""

    # A token that is refused is not for the log either.
    model_config = SettingsConfigDict(hide_input_in_errors=True)

    api_database_url: str | None = Field(
        default=None,
        description="PostgreSQL for HTTP requests, as the role leadline_api, which may do less; unset: as the coordinator",
        json_schema_extra=SECRET,
    )
    api_database_password: SecretStr | None = Field(
        default=None, description="Password of that role, where the address has none"
    )
    token: SecretStr | None = Field(
        default=None,
        description="Bearer token of an operator, at least 16 characters; unset: calls need one once `leadline token` made one",
    )
    without_token: bool = Field(
        default=False,
        description="Answer beyond the loopback although there is no token: something else authenticates callers",
    )
    oidc_issuer: str | None = Field(
        default=None,
        description="Issuer of the OpenID provider that people sign in with, as it calls itself; unset: they sign in with tokens",
    )
    oidc_client_id: str = Field(default="leadline", description="What the OpenID provider calls this server")
    oidc_client_secret: SecretStr | None = Field(
        default=None, description="Secret that this server proves itself to it with"
    )
    oidc_redirect_url: str | None = Field(
        default=None,
        description="This server's /sign-in/openid/callback as browsers reach it; unset: by the name that the request came to",
    )
    open_docs: bool = Field(default=True, description="/docs, /openapi.json and /asyncapi need no token")
    open_metrics: bool = Field(default=True, description="/metrics needs no token")
    rate_limit: float = Field(
        default=100.0,
        ge=0,
        description="Requests a second that one token, or one address without, may make for long; ten seconds of them at once; 0: no limit",
    )
    hosts: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(),
        description="Names this server may be called by beside 127.0.0.1, localhost and [::1], separated by commas; * for every name",
    )
    read_only: bool = Field(
        default=False,
        description="Answer reads alone, from a database that is only read; for services.coordinator.app:create_api",
    )
    max_body_mb: int = Field(
        default=24, ge=11, description="Largest request body; a portfolio file may have 10 MB of it"
    )
    max_lots: int = Field(default=50_000, ge=1, description="Most lots of a portfolio, closed ones included")
    max_symbols: int = Field(
        default=2_000, ge=1, description="Most distinct symbols of a portfolio, underlyings of options included"
    )
    max_sessions: int | None = Field(
        default=None,
        ge=1,
        description="Most sessions of a portfolio, from its first entry to the last one due; unset: all since 1990",
    )
    max_lot_sessions: int = Field(
        default=50_000_000, ge=1, description="Most lots times sessions of a portfolio: what its snapshots take on disk"
    )
    api_pool_size: int = Field(default=8, ge=1, description="Database connections that requests share")
    max_requests: int = Field(
        default=64, ge=1, description="Requests answered at a time; those beyond are refused (503)"
    )
    max_streams: int = Field(
        default=200, ge=1, description="Status streams open at a time; those beyond are refused (503)"
    )
    stream_seconds: float = Field(default=1.0, gt=0, description="How often a status stream looks at the ledger")
    keep_idempotency_days: int = Field(
        default=7, ge=1, description="Days for which a repeated request is answered as before"
    )
    keep_idempotency_keys: int = Field(
        default=100_000, ge=100, description="Most idempotency keys of a tenant; the oldest go first"
    )
    keep_dead_letters_days: int | None = Field(
        default=None,
        ge=1,
        description="Days a settled dead letter and an event that cannot be sent stay; unset: for good",
    )
    keep_history_days: int | None = Field(
        default=None, ge=1, description="Days that replaced results stay; unset: for good"
    )
    keep_risk_sessions: int | None = Field(
        default=None,
        ge=63,
        description="Newest sessions of which all risk stays; of older ones month ends stay, the others are thinned out. Unset: for good",
    )
    keep_runs_days: int | None = Field(default=None, ge=1, description="Days that finished runs stay; unset: for good")
    webhook_private: bool = Field(
        default=False,
        description="Webhooks may lead to addresses of one's own network, and by http; else to public ones by https, and those of the "
        "first tenant (house) to this machine",
    )
    sector_benchmark: str = Field(
        default="SP500",
        pattern=r"^[A-Z0-9][A-Z0-9._-]{0,31}$",
        description="Code of the benchmark that sectors are compared with, once its weights are loaded",
    )
    reconcile_seconds: float = Field(default=15.0, gt=0, description="How often what is missing is looked for")
    grace_seconds: float = Field(
        default=30.0, ge=0, description="How long after its upstream completed a phase is left to the normal path"
    )

    @property
    def api_address(self) -> str:
        """The database's address for HTTP requests: as the API's own role, or as the coordinator."""
        if self.api_database_url is None:
            return self.database_address
        return with_password(self.api_database_url, self.api_database_password)

    @model_validator(mode="after")
    def _check_api_database_password(self) -> Self:
        if self.api_database_password is None:
            return self
        user, _, _ = urlsplit(self.api_database_url or "").netloc.rpartition("@")
        if not user or ":" in user:
            raise ValueError(
                "LEADLINE_API_DATABASE_PASSWORD goes with a LEADLINE_API_DATABASE_URL that names a role and has no password itself: "
                "postgresql://leadline_api@host/leadline"
            )
        return self

    @field_validator("oidc_issuer", "oidc_redirect_url")
    @classmethod
    def _check_oidc(cls, value: str | None) -> str | None:
        parts = urlsplit(value or "")
        local = parts.scheme == "http" and parts.hostname in ("127.0.0.1", "localhost", "::1")
        if value and (not (parts.scheme == "https" or local) or not parts.hostname or parts.query or parts.fragment):
            raise ValueError(
                "LEADLINE_OIDC_ISSUER and LEADLINE_OIDC_REDIRECT_URL must be https addresses without query, such as "
                "https://login.example.org; http is for a provider on this machine"
            )
        return value or None

    @model_validator(mode="after")
    def _check_oidc_secret(self) -> Self:
        secret = self.oidc_client_secret
        if self.oidc_issuer is not None and (secret is None or not secret.get_secret_value().strip()):
            raise ValueError(
                "LEADLINE_OIDC_ISSUER needs LEADLINE_OIDC_CLIENT_SECRET, or LEADLINE_OIDC_CLIENT_SECRET_FILE with the path of a file "
                "that holds it: there is none, or an empty one. The provider gave it to you with the client's id"
            )
        return self

    @field_validator("token")
    @classmethod
    def _check_token(cls, value: SecretStr | None) -> SecretStr | None:
        secret = "" if value is None else value.get_secret_value()
        if secret and (len(secret) < MIN_TOKEN or secret != secret.strip()):
            raise ValueError(
                f"LEADLINE_TOKEN must have at least {MIN_TOKEN} characters and no blanks around it. "
                "Draw one: python3 -c 'import secrets; print(secrets.token_urlsafe(32))'"
            )
        return value if secret else None

    @field_validator("hosts", mode="before")
    @classmethod
    def _split_hosts(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(part for part in (each.strip().lower().rstrip(".") for each in value.split(",")) if part)
        return value

    @field_validator("hosts")
    @classmethod
    def _check_hosts(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        wrong = [each for each in value if not _HOST.fullmatch(each)]
        if wrong:
            raise ValueError(
                f"LEADLINE_HOSTS: {', '.join(map(repr, wrong))} is no name. Give names or addresses alone, such as "
                "leadline.example.org or [fd00::1], without scheme, port or path; any port is meant"
            )
        return value
