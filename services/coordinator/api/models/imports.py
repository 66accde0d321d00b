"""Imported files, and how files are read."""

from __future__ import annotations

from pydantic import Field

from services.coordinator.api.models.common import Answer, Change, FieldError


class ImportedFile(Answer):
    id: str
    filename: str | None
    kind: str
    preset: str | None
    dialect: str | None
    rows: int
    imported_at: str
    undone_at: str | None


class ImportedFiles(Answer):
    items: list[ImportedFile]


class ImportUndone(Change):
    import_id: str
    removed: int
    restored: int
    warnings: list[FieldError]


class Layout(Answer):
    name: str
    title: str
    kind: str
    dialect: str
    columns: dict[str, list[str]] = Field(description="Our field to the names its column may have")
    documented: str = Field(description="Where the layout is described")


class Layouts(Answer):
    items: list[Layout]


class Mapping(Answer):
    name: str
    preset: str | None = None
    dialect: str | None = None
    map: dict[str, str] | None = Field(None, description="Our field to the file's column")
    symbols: dict[str, str] | None = Field(None, description="The file's symbol to ours")


class Mappings(Answer):
    items: list[Mapping]
