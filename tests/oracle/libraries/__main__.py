"""`python -m tests.oracle.libraries`: what the libraries say, in an environment of their own; recorded.json and docs/libraries.md anew.

The environment is this one's packages with those of requirements.txt above them, in a temporary folder; it needs a package index and
takes about three minutes. Ends with 1 where a figure is further from a library's than its tolerance.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import tempfile
import textwrap
from pathlib import Path
from typing import Any

import numpy as np

from tests.oracle.libraries import ours
from tests.oracle.libraries.ours import Figure
from tests.oracle.libraries.rows import ROWS, Row, apart, expected
from tests.support import own_environment

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
RECORDED = HERE / "recorded.json"
PAGE = ROOT / "docs" / "libraries.md"
_INSIDE = "--inside"

_HEAD = """# Beside other libraries

The same returns in Leadline and in libraries that its users know, with those versions: {versions}. 504 returns made up
with volatility that comes and goes, a benchmark, a bill of 2 %, a book of four holdings of which one is short. Made by
`make libraries` (`python -m tests.oracle.libraries`), which installs them in an environment of its own: they bring
plotting and solvers that nothing here needs. What they said is kept (`tests/oracle/libraries/recorded.json`), and every
run of the suite holds the figures to it (`tests/oracle/test_libraries.py`).

*Apart* is the largest difference over the largest value. Where a definition differs, the third column is after theirs
was worked out from it, so that nothing but the definition is left over; `raw` is the difference without that. Sums of a
few hundred numbers in another order may differ by 1e-10; riskfolio's contributions are difference quotients (1e-5).
empyrical, scipy, statsmodels, arch, scikit-learn, pyxirr and numpy-financial are run by the suite itself: section 13 of
the [methods](methods.md).

| figure | library: call | apart | raw | why |
|---|---|---|---|---|
"""


def main(arguments: list[str]) -> int:
    return _record() if arguments == [_INSIDE] else _in_own_environment()


def _in_own_environment() -> int:
    with tempfile.TemporaryDirectory() as folder:
        python = own_environment.create(Path(folder))
        paths = {"base": folder, "platbase": folder}
        site = Path(sysconfig.get_path("purelib", "venv", vars=paths))
        (site / "here.pth").write_text(sysconfig.get_path("purelib") + "\n")
        install = own_environment.installing(python, HERE / "requirements.txt")
        inside: list[str | Path] = [python, "-W", "ignore", "-m", "tests.oracle.libraries", _INSIDE]
        for command in (install, inside):
            # Only for drawing: there is no screen, and a cache of fonts is no matter of the user's.
            drawing = {"MPLBACKEND": "agg", "MPLCONFIGDIR": folder}
            code = subprocess.run(command, cwd=ROOT, env=os.environ | drawing, check=False).returncode
            if code:
                return code
    return 0


def _record() -> int:
    from tests.oracle.libraries import theirs

    said, own = theirs.figures(), ours.figures()
    document = {"inputs": ours.digest(), "versions": theirs.versions(), "figures": dict(sorted(said.items()))}
    RECORDED.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    PAGE.write_text(_page(document, own), encoding="utf-8")
    far = [row.key for row in ROWS if apart(expected(row, own), said[row.key]) > row.tolerance]
    for key in far:
        sys.stderr.write(f"{key}: further apart than its tolerance\n")
    sys.stdout.write(f"{len(ROWS)} comparisons, {len(far)} beyond their tolerance; {PAGE.relative_to(ROOT)}\n")
    return 1 if far else 0


def _page(document: dict[str, Any], own: dict[str, Figure]) -> str:
    names = ", ".join(f"{name} {number}" for name, number in document["versions"].items())
    lines = [_line(row, own, document["figures"][row.key]) for row in ROWS]
    return _wrapped(_HEAD.format(versions=names)) + "\n".join(lines) + "\n"


def _wrapped(text: str) -> str:
    """The paragraph with the versions is as long as they are."""
    title, first, rest = text.split("\n\n", 2)
    return "\n\n".join([title, textwrap.fill(" ".join(first.split()), 120, break_on_hyphens=False), rest])


def _line(row: Row, own: dict[str, Figure], said: Figure) -> str:
    raw = f"{apart(own[row.figure], said):.0e}" if row.theirs is not None else ""
    found = apart(expected(row, own), said)
    figure = np.format_float_scientific(found, 0, trim="-", exp_digits=2) if found else "0"
    return f"| `{row.figure}` | {row.library}: `{row.call}` | {figure} | {raw} | {row.why} |"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
