"""Settings of the risk service."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from shared.settings import ServiceSettings


class RiskSettings(ServiceSettings):
    """The common settings, and the user's own stress scenarios. Windows and gates are the registry's."""

    risk_scenarios: Path | None = Field(
        default=None,
        description="YAML file of stress scenarios beside the built-in ones; see services/risk/scenarios.yaml",
    )
