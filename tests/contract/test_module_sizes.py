"""No module and no function of the product grows beyond what one reads in a sitting."""

from __future__ import annotations

from tests.module_sizes import (
    EXEMPT,
    MOST,
    MOST_OF_FUNCTION,
    Exempt,
    function_lines,
    lines,
    modules,
    too_long,
    too_long_functions,
)


def test_no_module_is_over_the_limit() -> None:
    assert too_long(lines()) == []


def test_what_is_over_it_is_found_and_an_exception_is_no_licence_to_grow() -> None:
    found = [("a.py", MOST), ("b.py", MOST + 1), ("c.py", 400), ("d.py", 401)]
    exempt = {"c.py": Exempt(400, "a table"), "d.py": Exempt(400, "a table")}
    assert [line.split()[0] for line in too_long(iter(found), exempt)] == ["b.py", "d.py"]
    there = {path for path, _ in lines()}
    assert [path for path in EXEMPT if path not in there] == [], "an exception for a module that is gone"
    assert len(there) > 200


def test_no_function_is_over_the_limit() -> None:
    assert too_long_functions(modules()) == []


def test_a_function_is_counted_to_its_end_without_what_documents_it() -> None:
    text = '''
@decorated
def outer(
    a,
):
    """Two lines
    of a docstring."""

    async def inner():
        return a

    return inner


class Of:
    def method(self):
        "One line."
'''
    assert dict(function_lines(text)) == {"outer": 8, "inner": 2, "method": 1}


def test_a_function_over_the_limit_is_named_with_its_module() -> None:
    def of(length: int) -> str:
        return "def long():\n" + "    pass\n" * (length - 1)

    found = [("a.py", of(MOST_OF_FUNCTION)), ("b.py", of(MOST_OF_FUNCTION + 1))]
    assert [line.split()[:2] for line in too_long_functions(found)] == [["b.py:", "long"]]
