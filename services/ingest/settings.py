"""What the ingest service reads from the environment beside what every service has."""

from pathlib import Path
from typing import Annotated

from pydantic import Field, field_validator
from pydantic_settings import NoDecode

from shared.settings import ServiceSettings

PROVIDERS = ("file",)


class IngestSettings(ServiceSettings):
    """Prefix `LEADLINE_`, frozen."""

    providers: Annotated[tuple[str, ...], NoDecode] = Field(
        default=("file",), description="Who is asked for prices, in order, separated by commas"
    )
    data: Path | None = Field(
        default=None, description="Price file of the `file` provider: Parquet or CSV, actions and symbols beside it"
    )
    retry_poll_seconds: float = Field(
        default=5.0, gt=0, description="How often absences whose time has come are looked for"
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
