"""Figures beside what performance and portfolio libraries say of the same returns: quantstats, skfolio, pyfolio and riskfolio.

Their plotting and solver stacks are no part of the suite. `python -m tests.oracle.libraries` runs them in an environment of its own and
writes what they said to `recorded.json` and docs/libraries.md; `tests/oracle/test_libraries.py` holds the figures to it on every run.
"""
