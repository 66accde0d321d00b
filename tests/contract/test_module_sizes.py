"""No module of the product grows beyond what one reads in a sitting."""

from __future__ import annotations

from tests.module_sizes import EXEMPT, MOST, Exempt, lines, too_long


def test_no_module_is_over_the_limit() -> None:
    assert too_long(lines()) == []


def test_what_is_over_it_is_found_and_an_exception_is_no_licence_to_grow() -> None:
    found = [("a.py", MOST), ("b.py", MOST + 1), ("c.py", 400), ("d.py", 401)]
    exempt = {"c.py": Exempt(400, "a table"), "d.py": Exempt(400, "a table")}
    assert [line.split()[0] for line in too_long(iter(found), exempt)] == ["b.py", "d.py"]
    there = {path for path, _ in lines()}
    assert [path for path in EXEMPT if path not in there] == [], "an exception for a module that is gone"
    assert len(there) > 200
