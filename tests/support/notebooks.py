"""A notebook as a program: its code cells, one after the other."""

from __future__ import annotations

import contextlib
import io
import json
from pathlib import Path
from typing import Any


def code_cells(notebook: Path) -> list[dict[str, Any]]:
    return [cell for cell in json.loads(notebook.read_text())["cells"] if cell["cell_type"] == "code"]


def execute(notebook: Path) -> str:
    """All code cells in one namespace; returns what they print. A traceback names the cell, counted from 1."""
    names: dict[str, Any] = {}
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        for number, cell in enumerate(code_cells(notebook), start=1):
            exec(compile("".join(cell["source"]), f"{notebook.name}, code cell {number}", "exec"), names)  # noqa: S102 (ours)
    return out.getvalue()
