"""`python -m deploy.export_docs` writes docs/openapi.json, docs/asyncapi/SERVICE.json, docs/kafka-rights.md and the table
of settings in docs/configuration.md.

`--check` fails where they are not current.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

from deploy import acls, settings_reference
from deploy.embedded.choices import settings_of
from deploy.embedded.composition import create_app
from shared.db.roles import SERVICES
from shared.events import asyncapi
from shared.service import Service

DOCS = Path(__file__).parent.parent / "docs"
# Nothing is connected to: an application that is not started only describes itself.
_SETTINGS = {"database_url": "postgresql://localhost/leadline", "kafka": "localhost:9092"}


def documents() -> Iterator[tuple[str, str]]:
    """Path below docs/ and text of each, as the code has it now."""
    for service in SERVICES:
        app = create_app(service, settings_of(service, **_SETTINGS))
        if service == "coordinator":
            yield "openapi.json", _text(app.openapi())
        made = app.state.service
        assert isinstance(made, Service)
        yield f"asyncapi/{service}.json", _text(asyncapi.describe(service, made.broker))
    yield "kafka-rights.md", acls.markdown()
    yield "configuration.md", settings_reference.update_table(DOCS / "configuration.md")


def _text(document: object) -> str:
    return json.dumps(document, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def drift(docs: Path = DOCS) -> list[str]:
    """Which committed documents differ from what the code says, a sentence each."""
    return [
        f"docs/{name} is not current: run python -m deploy.export_docs"
        for name, text in documents()
        if not (docs / name).is_file() or (docs / name).read_text() != text
    ]


def main() -> int:
    if "--check" in sys.argv[1:]:
        found = drift()
        sys.stdout.writelines(f"{line}\n" for line in found)
        return 1 if found else 0
    for name, text in documents():
        path = DOCS / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
