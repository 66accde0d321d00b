"""The JSON Schemas of all events: written from the models, checked against what is committed, compared for compatibility.

`python -m shared.events.export` writes them, `python -m shared.events.export --check` fails if the code has moved away from
them. A schema may gain optional fields and nothing else: consumers of the last release read what this one sends, and messages
of the last release are still in the topics.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from shared.events.topics import EVENT_TYPES

SCHEMAS = Path(__file__).parent / "schemas"
Schema = Mapping[str, Any]
# What a field is. Everything else (titles, descriptions, defaults) may be reworded.
MEANING = ("type", "format", "const", "pattern", "minimum", "maximum", "minLength", "maxLength", "minItems", "maxItems")


def schemas() -> dict[str, str]:
    """File name to text, for every event, as the code has it now."""
    return {
        f"{name}.v{kind.version}.json": json.dumps(
            {
                "$schema": "https://json-schema.org/draft/2020-12/schema",
                "$id": f"urn:leadline:event:{name}:v{kind.version}",
                **kind.model_json_schema(by_alias=True),
            },
            indent=2,
            sort_keys=True,
        )
        + "\n"
        for name, kind in EVENT_TYPES.items()
    }


def read_committed(directory: Path = SCHEMAS) -> dict[str, str]:
    """File name to text, as committed. Versions that the code no longer speaks stay among them."""
    return {path.name: path.read_text() for path in sorted(directory.glob("*.json"))}


def drift(directory: Path = SCHEMAS) -> list[str]:
    """What differs between code and committed files, a sentence each."""
    now, then = schemas(), read_committed(directory)
    found = [f"{name} is not committed" for name in now if name not in then]
    found += [f"{name} is not what the code produces" for name in now if name in then and now[name] != then[name]]
    return found


def breaks(old: Schema, new: Schema) -> list[str]:
    """Why messages or readers of `old` would not go with `new`; empty if they do. Both are whole schemas of one event."""
    return list(_compare(old, new, old, new, ""))


def _resolve(node: Schema, root: Schema) -> Schema:
    while "$ref" in node:
        target: Any = root
        for step in node["$ref"].removeprefix("#/").split("/"):
            target = target[step]
        node = target
    return node


def _alternatives(node: Schema, root: Schema) -> list[Schema]:
    """The types a value may have, null and references resolved."""
    return [_resolve(option, root) for option in node.get("anyOf", [node])]


def _compare(old: Schema, new: Schema, old_root: Schema, new_root: Schema, path: str) -> Iterator[str]:
    before, after = _alternatives(old, old_root), _alternatives(new, new_root)
    if len(before) != len(after):
        yield f"{path or 'the body'} may have other types than before"
        return
    for was, now in zip(before, after, strict=True):
        yield from _compare_one(was, now, old_root, new_root, path)


def _compare_one(old: Schema, new: Schema, old_root: Schema, new_root: Schema, path: str) -> Iterator[str]:
    name = path or "the body"
    for key in MEANING:
        if old.get(key) != new.get(key):
            yield f"{name} changed its {key} from {old.get(key)!r} to {new.get(key)!r}"
    if gone := set(map(str, old.get("enum", ()))) ^ set(map(str, new.get("enum", ()))):
        yield f"{name} changed its values: {', '.join(sorted(gone))}"
    fields, now = old.get("properties", {}), new.get("properties", {})
    for field in sorted(set(fields) - set(now)):
        yield f"{path}/{field} was removed"
    for field in sorted(set(new.get("required", ())) - set(old.get("required", ()))):
        yield f"{path}/{field} became required"
    for field in sorted(set(old.get("required", ())) - set(new.get("required", ()))):
        yield f"{path}/{field} is no longer always there"
    if new.get("additionalProperties", True) is False:
        yield f"{name} no longer ignores unknown fields"
    for field in sorted(set(fields) & set(now)):
        yield from _compare(fields[field], now[field], old_root, new_root, f"{path}/{field}")
    if "items" in old and "items" in new:
        yield from _compare(old["items"], new["items"], old_root, new_root, f"{path}/*")


def main() -> int:
    if "--check" in sys.argv[1:]:
        problems = drift()
        sys.stdout.writelines(f"{problem}\n" for problem in problems)
        return 1 if problems else 0
    SCHEMAS.mkdir(exist_ok=True)
    for name, text in schemas().items():
        (SCHEMAS / name).write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
