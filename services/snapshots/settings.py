"""What the snapshots service reads from the environment: what every service has, and nothing more."""

from __future__ import annotations

from shared.settings import ServiceSettings


class SnapshotsSettings(ServiceSettings):
    """Prefix `LEADLINE_`, frozen."""
