"""Every worked example in docs/methods.md is recomputed, to the last digit that is shown there."""

from __future__ import annotations

import re
from collections.abc import Sequence
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from tests.golden import risk_examples
from tests.golden.examples import EXAMPLES

assert risk_examples.__name__, "imported for the examples that it adds"
METHODS = Path(__file__).parents[2] / "docs" / "methods.md"
BLOCK = re.compile(r"^```yaml\n(example: (\S+)\n.*?)^```$", re.MULTILINE | re.DOTALL)
# Beyond half a unit of the last digit shown: the number is rounded, and a tie may have gone either way.
SLACK = 1e-9


def blocks() -> list[tuple[str, str]]:
    """(name, text) of every example in the document. Read where it is tested: to collect tests needs no parser."""
    return [(name, text) for text, name in BLOCK.findall(METHODS.read_text(encoding="utf-8"))]


def compare(actual: Any, shown: Any, where: str) -> None:
    if isinstance(shown, dict):
        for key, inner in shown.items():
            assert key in actual, f"{where}: the code has no {key}"
            compare(actual[key], inner, f"{where}.{key}")
    elif isinstance(shown, list):
        assert isinstance(actual, Sequence | np.ndarray), where
        assert len(actual) == len(shown), where
        for place, (one, other) in enumerate(zip(actual, shown, strict=True)):
            compare(one, other, f"{where}[{place}]")
    elif shown == "null":
        assert actual is None or np.isnan(float(actual)), f"{where} is {actual}"
    elif isinstance(actual, str):
        assert actual == shown, where
    else:
        try:
            written = Decimal(shown)
        except InvalidOperation:
            pytest.fail(f"{where}: {shown!r} is no number")
        exponent = written.as_tuple().exponent
        assert isinstance(exponent, int)
        half = 0.5 * 10.0**exponent
        assert float(actual) == pytest.approx(float(written), abs=half * (1 + SLACK), rel=0.0), where


@pytest.mark.parametrize(("name", "block"), [pytest.param(*block, id=block[0]) for block in blocks()])
def test_the_figures_come_out_again(name: str, block: str) -> None:
    read, shown = yaml.safe_load(block), yaml.load(block, Loader=yaml.BaseLoader)  # noqa: S506 - strings only
    assert read["example"] == name
    assert shown["gives"]
    compare(EXAMPLES[name](read["given"]), shown["gives"], name)


def test_every_example_is_in_the_document_and_none_is_made_up() -> None:
    assert sorted(name for name, _ in blocks()) == sorted(EXAMPLES)


def test_a_wrong_digit_is_noticed() -> None:
    compare(0.123456, "0.1235", "x")
    with pytest.raises(AssertionError):
        compare(0.123456, "0.1236", "x")
    with pytest.raises(AssertionError):
        compare([1.0, 2.0], ["1.0"], "x")
