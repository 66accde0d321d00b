"""`python -m tests.generated_client [GENERATOR]`: a client made from docs/openapi.json compiles, and reads every example there is.

GENERATOR is the program `openapi-python-client`, from a virtual environment of its own: nothing of ours needs it. Each example is
given to the function of its operation as if a server had answered it, and what was read is written again: it must say the same.
"""

from __future__ import annotations

import compileall
import importlib
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parents[1]
DOCUMENT = ROOT / "docs" / "openapi.json"
PACKAGE = "generated_leadline"
METHODS = frozenset({"get", "put", "post", "patch", "delete"})


class Failed(Exception):
    """What a user of the generated client would stumble over."""


class Example(NamedTuple):
    operation: str
    status: int
    body: Any


def generate(generator: str, folder: Path) -> None:
    """A package in the folder. A generator says in its warnings what it left out; that it may not do."""
    command = [generator, "generate", "--path", str(DOCUMENT), "--output-path", str(folder / PACKAGE), "--meta", "none"]
    config = folder / "config.yaml"
    config.write_text("post_hooks: []\n")
    done = subprocess.run([*command, "--config", str(config)], capture_output=True, text=True, check=False, timeout=300)
    if done.returncode or "WARNING" in done.stdout or "Warning" in done.stdout:
        raise Failed(f"{generator} did not make all of it:\n{done.stdout}\n{done.stderr}")


def examples(document: dict[str, Any]) -> Iterator[Example]:
    """Of every answer that has one: its own, or its model's."""
    components = document["components"]
    for item in document["paths"].values():
        for method, operation in item.items():
            if method not in METHODS:
                continue
            for status, stated in operation["responses"].items():
                answer = components["responses"][stated["$ref"].rpartition("/")[2]] if "$ref" in stated else stated
                for kind, content in answer.get("content", {}).items():
                    schema = content.get("schema", {})
                    model = components["schemas"].get(schema.get("$ref", "").rpartition("/")[2], {})
                    if kind.endswith("json") and (body := content.get("example", model.get("example"))) is not None:
                        yield Example(re.sub("_+", "_", operation["operationId"]), int(status), body)


def read(folder: Path, document: dict[str, Any]) -> tuple[int, int]:
    """How many functions there are, and how many examples they read. Raises `Failed` for the first that is read wrongly."""
    import httpx  # what the generated client calls with; the product does without

    sys.path.insert(0, str(folder))
    client = importlib.import_module(f"{PACKAGE}.client").Client(base_url="http://test")
    paths = sorted((folder / PACKAGE / "api").rglob("*.py"))
    functions = {
        path.stem: importlib.import_module(".".join(path.relative_to(folder).with_suffix("").parts))
        for path in paths
        if path.name != "__init__.py"
    }
    seen = 0
    for operation, status, body in examples(document):
        answer = httpx.Response(status, json=body)
        try:
            found = functions[operation]._parse_response(client=client, response=answer)
            again = found.to_dict()
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise Failed(
                f"{operation}, {status}: the example cannot be read: {type(error).__name__}: {error}"
            ) from error
        if plain(again) != plain(body):
            raise Failed(f"{operation}, {status}: the example was read as {again}, and says {body}")
        seen += 1
    return len(functions), seen


def plain(value: Any) -> Any:
    """Instants that are the same, however written, are equal."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, str) and "T" in value:
        try:
            return datetime.fromisoformat(value)
        except ValueError:
            return value
    return value


def main() -> None:
    generator = sys.argv[1] if len(sys.argv) > 1 else "openapi-python-client"
    document = json.loads(DOCUMENT.read_text())
    operations = sum(method in METHODS for item in document["paths"].values() for method in item)
    with tempfile.TemporaryDirectory(prefix="leadline-client-") as directory:
        folder = Path(directory)
        try:
            generate(generator, folder)
            if not compileall.compile_dir(folder / PACKAGE, quiet=1):
                raise Failed("the generated package does not compile")
            functions, seen = read(folder, document)
            if functions != operations:
                raise Failed(f"{functions} functions were made of {operations} operations")
        except Failed as failed:
            sys.exit(f"{failed}")
        modules = len(list((folder / PACKAGE / "models").glob("*.py"))) - 1
    sys.stdout.write(f"{functions} functions and {modules} models compile, and read {seen} examples as they are\n")


if __name__ == "__main__":
    main()
