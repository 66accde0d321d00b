"""What answers have in common."""

from __future__ import annotations

from typing import Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field

Number: TypeAlias = float | None
"""A figure; null is unknown, never zero."""
Scalar: TypeAlias = bool | float | str | None
FigureValue: TypeAlias = bool | float | str | list[str] | list[list[str]] | list[dict[str, Scalar]] | None
"""Of a figure by its name: a number, nearly always; a text, such as a reason; a list whose items nothing tells apart, such as clusters."""
Quality: TypeAlias = Literal["complete", "partial"]
PhaseName: TypeAlias = Literal["ingest", "factors", "snapshots", "risk"]


class Answer(BaseModel):
    """An answer may gain keys, and no client may fail at one it does not know."""

    model_config = ConfigDict(extra="allow")


class FieldError(Answer):
    """One thing that is wrong, and where."""

    row: int | None = Field(description="Line of the file, or item of a JSON list from 1")
    column: str | None = Field(description="Field or parameter")
    code: str
    message: str
    value: str | None = None


class ProblemDetails(Answer):
    """Why a request was refused (RFC 9457)."""

    model_config = ConfigDict(
        extra="allow",
        json_schema_extra={
            "example": {
                "type": "/docs/problems#not_found",
                "title": "Not found",
                "status": 404,
                "detail": "There is no portfolio 0198c0de-0000-7000-8000-000000000000. It may have been deleted.",
                "code": "not_found",
            }
        },
    )

    type: str = Field(description="URI reference; what the code means and what to do stands there")
    title: str
    status: int
    detail: str
    code: str
    errors: list[FieldError] | None = None


class Reason(Answer):
    """Why a figure is null, or a unit partial."""

    figure: str | None = None
    symbol: str | None = None
    reason: str
    severity: Literal["nav", "risk", "figure"] | None = None
    acts: Literal["us", "wait", "you"] | None = None
    until: str | None = None
    provider: str | None = None
    remedy: str | None = None


class Envelope(Answer):
    """The keys common to answers about one session."""

    portfolio_id: str
    session: str
    revision: int
    model_version: str
    computed_at: str
    quality: Quality
    coverage: Number
    reasons: list[Reason]
    stale: bool = Field(description="Whether a later revision is required and not there yet")
    provisional: bool | None = None


class Change(Answer):
    """What a change requires anew. Null where nothing is."""

    id: str | None = None
    first_session: str | None
    last_session: str | None
    run_id: str | None


class RunAccepted(Answer):
    run_id: str
    rejected: list[FieldError] = Field(default_factory=list)


class Accepted(Answer):
    accepted: bool
