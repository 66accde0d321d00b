"""The envelope: CloudEvents attributes as Kafka headers, and the base of all message bodies.

Events carry ids and ranges, never data: what they say is read again from the ledger by whoever receives them. A consumer
ignores fields it does not know; a message of another major version is not for it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Annotated, ClassVar
from uuid import UUID, uuid4

from pydantic import BaseModel, ConfigDict, Field, model_validator

from shared.work import MAX_BESIDE, MAX_PORTFOLIOS, Phase, Work

SPEC_VERSION = "1.0"
TYPE_PREFIX = "leadline"
TENANT = "ce_tenant"
"""The header that says whose an event is, where it is of one tenant alone."""


class WorkBody(BaseModel):
    """A rectangle of work: portfolios and a range of sessions, both ends included."""

    model_config = ConfigDict(extra="ignore", populate_by_name=True, frozen=True)

    portfolios: Annotated[list[UUID], Field(min_length=1, max_length=MAX_PORTFOLIOS)]
    first: Annotated[date, Field(alias="from")]
    last: Annotated[date, Field(alias="to")]
    beside: Annotated[tuple[UUID, ...], Field(max_length=MAX_BESIDE, exclude_if=lambda beside: not beside)] = ()
    """Portfolios of which the same is announced by messages of their own: who reads their partitions may do them at once."""

    @model_validator(mode="after")
    def _forwards(self) -> WorkBody:
        if self.first > self.last:
            raise ValueError(f"work runs backwards: {self.first} to {self.last}")
        return self

    @classmethod
    def of(cls, work: Work) -> WorkBody:
        return cls(portfolios=list(work.portfolios), first=work.first, last=work.last, beside=work.beside)

    def rectangle(self) -> Work:
        return Work(tuple(self.portfolios), self.first, self.last, self.beside)


class Event(BaseModel, ABC):
    """Base of every message body."""

    model_config = ConfigDict(extra="ignore", populate_by_name=True, frozen=True)

    name: ClassVar[str]
    version: ClassVar[int] = 1

    @classmethod
    def type_name(cls) -> str:
        """The CloudEvents type, major version included: `leadline.DateDue.v1`."""
        return f"{TYPE_PREFIX}.{cls.name}.v{cls.version}"

    def body(self) -> str:
        return self.model_dump_json(by_alias=True)

    def about(self) -> list[UUID]:
        """The portfolios that it names."""
        return []

    @abstractmethod
    def subject(self) -> str:
        """What the event is about, short; also the Kafka key. Order is never relied on."""


class WorkEvent(Event):
    """An event about a rectangle of work. `phase` is set where the event is for one phase only."""

    work: WorkBody
    phase: Phase | None = None

    def about(self) -> list[UUID]:
        return [*self.work.portfolios, *self.work.beside]

    def subject(self) -> str:
        return str(self.work.portfolios[0])

    def concerns(self, phase: Phase) -> bool:
        return self.phase is None or self.phase == phase


@dataclass(frozen=True)
class Envelope:
    """The headers of one message."""

    id: UUID
    type: str
    source: str
    time: datetime
    subject: str
    correlation_id: str
    causation_id: str | None = None
    traceparent: str | None = None

    def headers(self) -> dict[str, str]:
        pairs = {
            "ce_specversion": SPEC_VERSION,
            "ce_id": str(self.id),
            "ce_type": self.type,
            "ce_source": self.source,
            "ce_time": self.time.isoformat().replace("+00:00", "Z"),
            "ce_subject": self.subject,
            "content-type": "application/json",
            "correlation_id": self.correlation_id,
        }
        if self.causation_id:
            pairs["causation_id"] = self.causation_id
        if self.traceparent:
            pairs["traceparent"] = self.traceparent
        return pairs

    @classmethod
    def new(
        cls,
        event: Event,
        *,
        source: str,
        correlation_id: str | None = None,
        causation_id: str | None = None,
        traceparent: str | None = None,
    ) -> Envelope:
        identity = uuid4()
        return cls(
            id=identity,
            type=event.type_name(),
            source=f"/{TYPE_PREFIX}/{source}",
            time=datetime.now(UTC),
            subject=event.subject(),
            correlation_id=correlation_id or str(identity),
            causation_id=causation_id,
            traceparent=traceparent,
        )


def major_of(type_name: str) -> tuple[str, int] | None:
    """`leadline.DateDue.v1` as ("DateDue", 1); None where it is not one of ours."""
    prefix, _, rest = type_name.partition(".")
    name, _, version = rest.rpartition(".v")
    # `isdigit` alone accepts "²", and `int` refuses numbers of thousands of digits: both come from outside.
    if prefix != TYPE_PREFIX or not name or not (version.isascii() and version.isdigit() and len(version) <= 6):
        return None
    return name, int(version)
