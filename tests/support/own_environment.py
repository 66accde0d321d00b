"""Packages that the project does not depend on, in an environment of their own: what they bring is installed nowhere else."""

from __future__ import annotations

import venv
from pathlib import Path


def create(folder: Path) -> Path:
    """An environment in the folder; its interpreter."""
    venv.create(folder, with_pip=True)
    return folder / "bin" / "python"


def installing(python: Path, requirements: Path) -> list[str | Path]:
    """The command that installs exactly what is pinned there; needs a package index."""
    return [python, "-m", "pip", "install", "--quiet", "--no-deps", "-r", requirements]
