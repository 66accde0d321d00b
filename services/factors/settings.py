"""Settings of the factors service: the common ones, as its own class so that additions stay here."""

from pydantic import Field

from shared.settings import ServiceSettings


class FactorsSettings(ServiceSettings):
    """Windows and gates are the registry's, since they decide what a number means."""

    patience: float = Field(
        default=600.0, ge=0, description="Seconds for which factor figures wait for the prices of a factor's proxy"
    )
