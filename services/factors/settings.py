"""Settings of the factors service: the common ones, as its own class so that additions stay here."""

from shared.settings import ServiceSettings


class FactorsSettings(ServiceSettings):
    """Nothing of its own yet to choose: windows and gates are the registry's, since they decide what a number means."""
