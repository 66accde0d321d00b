"""What the ingest service reads from the environment beside what every service has."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AliasChoices, Field, SecretStr, field_validator, model_validator
from pydantic_settings import NoDecode

from shared.market.registry import SECTOR_FUNDS
from shared.settings import ServiceSettings

PROVIDERS = ("file", "yahoo", "yahooquery", "massive", "fmp", "tiingo")

# Who is asked for the yield curve. Keyless, so they are asked wherever prices come from the network.
REFERENCE_PROVIDERS = ("treasury", "fred")
NETWORK_PROVIDERS = frozenset(PROVIDERS) - {"file"}


def _names(value: object) -> object:
    """Names separated by commas; anything else as it is."""
    if not isinstance(value, str):
        return value
    return tuple(name.strip().lower() for name in value.split(",") if name.strip())


class IngestSettings(ServiceSettings):
    """Prefix `LEADLINE_`, frozen."""

    providers: Annotated[tuple[str, ...], NoDecode] = Field(
        default=("file",), description="Who is asked for prices, in order: some of " + ", ".join(PROVIDERS)
    )
    data: Path | None = Field(
        default=None, description="Price file of the `file` provider: Parquet or CSV, actions and symbols beside it"
    )
    reference_providers: Annotated[tuple[str, ...] | None, NoDecode] = Field(
        default=None,
        description="Who is asked for the yield curve, in order: some of treasury,fred, or `none`; by default both, "
        "where LEADLINE_PROVIDERS names somebody on the network",
    )
    sector_funds: bool | None = Field(
        default=None,
        description="Whether the eleven Select Sector funds (XLK and so on) are fetched for everybody; by default where "
        "LEADLINE_PROVIDERS is `file` alone, which costs no calls",
    )
    retry_poll_seconds: float = Field(
        default=5.0, gt=0, description="How often absences whose time has come are looked for"
    )
    preview_symbols: int = Field(
        default=10,
        ge=0,
        le=50,
        description="Symbols of a preview that providers on the network are asked about, out of calls to spare; 0: none",
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
    tiingo_api_key: SecretStr | None = Field(default=None, description="Key of Tiingo; a free one is enough")
    # Yahoo publishes no limits; 60 a minute and 2,000 an hour are what machines were seen to be allowed.
    yahoo_quota: str = Field(
        default="60/minute,2000/hour", description="Calls to Yahoo, by yahoo and yahooquery together, from all replicas"
    )
    massive_quota: str = Field(
        default="5/minute", description="Calls to Massive; the free plan's by default, `unlimited` for paid ones"
    )
    fmp_quota: str = Field(default="250/day", description="Calls to FMP; the free plan's by default")
    tiingo_quota: str = Field(default="50/hour,1000/day", description="Calls to Tiingo; the free plan's by default")
    yahoo_url: str | None = Field(default=None, description="Another address for all of Yahoo's hosts: a mirror")
    massive_url: str | None = Field(default=None, description="Another address for Massive's API")
    fmp_url: str | None = Field(default=None, description="Another address for FMP's API")
    tiingo_url: str | None = Field(default=None, description="Another address for Tiingo's API")
    treasury_url: str | None = Field(default=None, description="Another address for home.treasury.gov")
    fred_url: str | None = Field(default=None, description="Another address for fred.stlouisfed.org")
    provider_loopback: bool = Field(
        default=False, description="Let those addresses be this machine's own, without https; for mirrors and tests"
    )

    data_bad_rows: Literal["refuse", "skip"] = Field(
        default="refuse",
        description="What a bad row of a price file does: refuse the file, or skip the row (said in the log and by doctor)",
    )

    @property
    def everybodys(self) -> tuple[str, ...]:
        """Symbols that are fetched whoever holds them, beside the factors' proxies and the reference funds."""
        wanted = self.sector_funds
        if wanted is None:
            wanted = not NETWORK_PROVIDERS.intersection(self.providers)
        return tuple(SECTOR_FUNDS.values()) if wanted else ()

    @property
    def curve_sources(self) -> tuple[str, ...]:
        """Names of who is asked for the yield curve, in order."""
        if self.reference_providers is not None:
            return self.reference_providers
        return REFERENCE_PROVIDERS if NETWORK_PROVIDERS.intersection(self.providers) else ()

    @model_validator(mode="before")
    @classmethod
    def _reference_among_providers(cls, values: dict[str, Any]) -> dict[str, Any]:
        """Sources of curves may be named among the providers too."""
        names = _names(values.get("providers", ()))
        if not isinstance(names, tuple):
            return values
        named = tuple(name for name in names if name in REFERENCE_PROVIDERS)
        if not named:
            return values
        prices = tuple(name for name in names if name not in REFERENCE_PROVIDERS)
        return {"reference_providers": named} | values | {"providers": prices}

    @field_validator("providers", "reference_providers", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return _names(value)

    @field_validator("providers")
    @classmethod
    def _refuse_unknown(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        unknown = [name for name in value if name not in PROVIDERS]
        if unknown or not value or len(set(value)) < len(value):
            raise ValueError(f"LEADLINE_PROVIDERS must name some of {', '.join(PROVIDERS)}, each once; got {value!r}")
        return value

    @field_validator("reference_providers")
    @classmethod
    def _known_reference(cls, value: tuple[str, ...] | None) -> tuple[str, ...] | None:
        if value in {("none",), ()}:
            return ()
        if value is not None and (set(value) - set(REFERENCE_PROVIDERS) or len(set(value)) < len(value)):
            names = ", ".join(REFERENCE_PROVIDERS)
            raise ValueError(
                f"LEADLINE_REFERENCE_PROVIDERS must name some of {names}, each once, or be none; got {value!r}"
            )
        return value
