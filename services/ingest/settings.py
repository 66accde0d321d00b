"""What the ingest service reads from the environment beside what every service has."""

from pathlib import Path
from typing import Annotated

from pydantic import AliasChoices, Field, SecretStr, field_validator
from pydantic_settings import NoDecode

from shared.settings import ServiceSettings

PROVIDERS = ("file", "yahoo", "yahooquery", "massive", "fmp")


class IngestSettings(ServiceSettings):
    """Prefix `LEADLINE_`, frozen."""

    providers: Annotated[tuple[str, ...], NoDecode] = Field(
        default=("file",), description="Who is asked for prices, in order: some of " + ", ".join(PROVIDERS)
    )
    data: Path | None = Field(
        default=None, description="Price file of the `file` provider: Parquet or CSV, actions and symbols beside it"
    )
    retry_poll_seconds: float = Field(
        default=5.0, gt=0, description="How often absences whose time has come are looked for"
    )
    patience: float = Field(
        default=600.0,
        ge=0,
        description="Seconds for which a session's units wait for prices that may still come; then they go on without, provisionally",
    )
    massive_api_key: SecretStr | None = Field(
        default=None,
        validation_alias=AliasChoices("massive_api_key", "LEADLINE_MASSIVE_API_KEY", "POLYGON_API_KEY"),
        description="Key of Massive, formerly Polygon; POLYGON_API_KEY is understood too",
    )
    fmp_api_key: SecretStr | None = Field(default=None, description="Key of Financial Modeling Prep")
    # Yahoo publishes no limits; 60 a minute and 2,000 an hour are what machines were seen to be allowed.
    yahoo_quota: str = Field(
        default="60/minute,2000/hour", description="Calls to Yahoo, by yahoo and yahooquery together, from all replicas"
    )
    massive_quota: str = Field(
        default="5/minute", description="Calls to Massive; the free plan's by default, `unlimited` for paid ones"
    )
    fmp_quota: str = Field(default="250/day", description="Calls to FMP; the free plan's by default")
    yahoo_url: str | None = Field(default=None, description="Another address for all of Yahoo's hosts: a mirror")
    massive_url: str | None = Field(default=None, description="Another address for Massive's API")
    fmp_url: str | None = Field(default=None, description="Another address for FMP's API")
    provider_loopback: bool = Field(
        default=False, description="Let those addresses be this machine's own, without https; for mirrors and tests"
    )

    @field_validator("providers", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return (
            tuple(name.strip().lower() for name in value.split(",") if name.strip())
            if isinstance(value, str)
            else value
        )

    @field_validator("providers")
    @classmethod
    def _known(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        unknown = [name for name in value if name not in PROVIDERS]
        if unknown or not value or len(set(value)) < len(value):
            raise ValueError(f"LEADLINE_PROVIDERS must name some of {', '.join(PROVIDERS)}, each once; got {value!r}")
        return value
