"""A function is named by what it does or what it gives: never by a participle alone (decision 0063)."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = ("leadline", "services", "shared", "deploy")
PARTICIPLE = re.compile(r"_*[a-z]+(ed|ing|wn|en)")
IRREGULAR = re.compile(
    "begun|bought|bound|brought|built|chosen|done|drawn|found|given|held|hid|kept|known|laid|learnt|left|lent|lost|made|"
    "meant|met|paid|said|sent|shut|sold|spent|spoken|stood|struck|taken|taught|thought|told|torn|understood|won"
)
_DEFINED = re.compile(rf"\bdef (?:{PARTICIPLE.pattern}|_*(?:{IRREGULAR.pattern})_*)\(")
# Ends like a participle and is a noun or a verb.
WORDS = frozenset(
    {
        "between",
        "flatten",
        "holding",
        "listen",
        "listing",
        "mapping",
        "markdown",
        "morning",
        "need",
        "open",
        "screen",
        "standing",
        "token",
    }
)


def functions(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Functions of a module and methods of its classes, not what is defined within a function."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node
        elif isinstance(node, ast.ClassDef | ast.If | ast.Try):
            # A property of a protocol is a field of what implements it.
            is_protocol = isinstance(node, ast.ClassDef) and any("Protocol" in ast.unparse(base) for base in node.bases)
            yield from (each for each in functions(node) if not (is_protocol and each.decorator_list))


def says_whether(function: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """A property or a method that says yes or no, or how many: `blocked`, `known`."""
    return isinstance(function.returns, ast.Name) and function.returns.id in ("bool", "int", "BoolMatrix")


def is_route(function: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """A handler of the API: its name is a part of the operation's id, which clients are generated from."""
    return any(ast.unparse(decorator).startswith("router.") for decorator in function.decorator_list)


def participles(source: str) -> list[str]:
    if not _DEFINED.search(source):
        return []
    return [
        function.name
        for function in functions(ast.parse(source))
        if (PARTICIPLE.fullmatch(function.name) or IRREGULAR.fullmatch(function.name.strip("_")))
        and function.name.strip("_") not in WORDS
        and not is_route(function)
        and not (says_whether(function) and function.decorator_list)
    ]


def test_no_function_is_a_participle() -> None:
    found = {
        path.relative_to(ROOT).as_posix(): names
        for package in PACKAGES
        for path in sorted((ROOT / package).rglob("*.py"))
        if (names := participles(path.read_text(encoding="utf-8")))
    }
    assert found == {}, "name what it does or gives: find_…, record_…, parse_…, …_of"


def test_what_is_a_participle() -> None:
    source = """
def listed(): ...
def _kept() -> bool: ...
def find_listed(): ...
async def held(): ...
@router.get("")
async def shown(): ...
class Run:
    @property
    def blocked(self) -> int: ...
    def refused(self) -> Error: ...
    @property
    def closed(self) -> Error: ...
def token(): ...
"""
    assert participles(source) == ["listed", "_kept", "held", "refused", "closed"]
