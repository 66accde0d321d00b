"""`make env`: draw what docker-compose.yml must not have a default for into `.env`, readable by its owner only.

Standard library only: the machine that runs compose needs nothing else installed. What stands in the file already stays.
"""

from __future__ import annotations

import os
import secrets
import sys
from collections.abc import Mapping
from pathlib import Path

NAMES = (
    "POSTGRES_PASSWORD",
    "LEADLINE_MIGRATOR_PASSWORD",
    "LEADLINE_COORDINATOR_PASSWORD",
    "LEADLINE_API_PASSWORD",
    "LEADLINE_INGEST_PASSWORD",
    "LEADLINE_FACTORS_PASSWORD",
    "LEADLINE_SNAPSHOTS_PASSWORD",
    "LEADLINE_RISK_PASSWORD",
    "KAFKA_TOPICS_PASSWORD",
    "KAFKA_COORDINATOR_PASSWORD",
    "KAFKA_INGEST_PASSWORD",
    "KAFKA_FACTORS_PASSWORD",
    "KAFKA_SNAPSHOTS_PASSWORD",
    "KAFKA_RISK_PASSWORD",
    "KAFKA_UI_PASSWORD",
    "GRAFANA_PASSWORD",
    "LEADLINE_TOKEN",
)


def write_env(path: Path) -> list[str]:
    """Add a secret for each name that has no value in the file; returns those names. The file ends with mode 0600."""
    kept = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    # A later line wins, in compose as here: one without a value would undo what is drawn.
    given = {name for line in kept if (name := _assigned_name(line)) in NAMES}
    missing = [name for name in NAMES if name not in given]
    write_values(path, {name: secrets.token_urlsafe(32) for name in missing})
    return missing


def write_values(path: Path, values: Mapping[str, str]) -> None:
    """Set variables in the file; its other lines stay. It ends with mode 0600, whole or as it was."""
    kept = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    lines = [line for line in kept if line.partition("=")[0].strip() not in values]
    lines += [f"{name}={value}" for name, value in values.items()]
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    with os.fdopen(os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w", encoding="utf-8") as file:
        file.write("\n".join(lines) + "\n")
    draft.replace(path)


def _assigned_name(line: str) -> str:
    """The name that a line gives a value to; else nothing."""
    name, _, value = line.partition("=")
    return name.strip() if value.strip().strip("\"'") and not line.lstrip().startswith("#") else ""


def main() -> None:
    path = Path(".env")
    drawn = write_env(path)
    said = f"drew {', '.join(drawn)}" if drawn else "has everything; nothing was changed"
    sys.stdout.write(f"{path}: {said}. LEADLINE_TOKEN in it is an operator's token: sign in with it.\n")


if __name__ == "__main__":
    main()
