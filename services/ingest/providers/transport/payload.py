"""Reading a vendor's JSON: what is not as documented is `SchemaChanged`, naming the field; nothing is guessed, nothing zeroed."""

import logging
import math
import sys
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any, TypeVar

from services.ingest.providers.errors import SchemaChanged

Made = TypeVar("Made")
log = logging.getLogger(__name__)
_LARGEST = sys.float_info.max
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Record:
    """One JSON object. `where` names it in messages: the endpoint and the path inside the document."""

    __slots__ = ("_provider", "_value", "_where")

    def __init__(self, provider: str, where: str, value: Any) -> None:
        self._provider = provider
        self._where = where
        if not isinstance(value, dict):
            raise SchemaChanged(provider, f"{where} should be an object and is {_kind(value)}")
        self._value: dict[str, Any] = value

    def has(self, key: str) -> bool:
        return self._value.get(key) is not None

    def names(self, key: str) -> bool:
        """Whether the key is there, though perhaps null."""
        return key in self._value

    @property
    def is_empty(self) -> bool:
        return not self._value

    def text(self, key: str) -> str:
        value = self.opt_text(key)
        if value is None:
            raise self._wrong(key, "text")
        return value

    def opt_text(self, key: str) -> str | None:
        value = self._value.get(key)
        if value is not None and not isinstance(value, str):
            raise self._wrong(key, "text")
        return value.strip() or None if value is not None else None

    def number(self, key: str) -> float:
        value = self.opt_number(key)
        if value is None:
            raise self._wrong(key, "a number")
        return value

    def opt_number(self, key: str) -> float | None:
        """A finite double. An infinite or NaN one (Python's JSON reads both) is no value."""
        value = self._value.get(key)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self._wrong(key, "a number")
        try:
            number = float(value)
        except OverflowError:
            raise self._wrong(key, "a number of double precision") from None
        return number if math.isfinite(number) else None

    def flag(self, key: str) -> bool:
        value = self._value.get(key)
        if not isinstance(value, bool):
            raise self._wrong(key, "true or false")
        return value

    def day(self, key: str) -> date:
        value = self.opt_day(key)
        if value is None:
            raise self._wrong(key, "a date")
        return value

    def opt_day(self, key: str) -> date | None:
        """The date of `YYYY-MM-DD`, or of an instant that begins so."""
        text = self.opt_text(key)
        if text is None:
            return None
        try:
            return date.fromisoformat(text[:10])
        except ValueError:
            raise self._wrong(key, "a date") from None

    def epoch(self, key: str, *, per_second: int = 1) -> datetime:
        """The instant, in UTC, of so many seconds (or thousandths, with `per_second=1000`) since 1970."""
        seconds = self.number(key) / per_second
        try:
            return _EPOCH + timedelta(seconds=seconds)
        except (ArithmeticError, ValueError):
            raise self._wrong(key, "an instant of a calendar year") from None

    def opt_epoch(self, key: str) -> datetime | None:
        return self.epoch(key) if self.has(key) else None

    def record(self, key: str) -> "Record":
        return Record(self._provider, f"{self._where}.{key}", self._value.get(key))

    def records(self, key: str, *, missing_is_empty: bool = False) -> Iterator["Record"]:
        if missing_is_empty and self._value.get(key) is None:
            return iter(())
        return records(self._provider, f"{self._where}.{key}", self._value.get(key))

    def values(self, key: str) -> Iterator["Record"]:
        """The objects of an object whose keys say nothing; none if it is missing."""
        inside = self._value.get(key)
        if inside is None:
            return iter(())
        if not isinstance(inside, dict):
            raise self._wrong(key, "an object")
        where = f"{self._where}.{key}"
        return iter([Record(self._provider, f"{where}.{name}", item) for name, item in inside.items()])

    def numbers(self, key: str, *, length: int | None = None) -> list[float]:
        """An array of numbers, of `length` if given; NaN where one is null or not finite."""
        found = self._value.get(key)
        if not isinstance(found, list):
            raise self._wrong(key, "an array")
        if length is not None and len(found) != length:
            raise SchemaChanged(
                self._provider, f"{self._where}.{key} should hold {length} values and holds {len(found)}"
            )
        numbers = []
        for item in found:
            if item is None:
                numbers.append(math.nan)
            elif isinstance(item, bool) or not isinstance(item, int | float):
                raise SchemaChanged(self._provider, f"{self._where}.{key} should hold numbers and holds {_kind(item)}")
            else:
                numbers.append(float(item) if abs(item) <= _LARGEST else math.nan)
        return numbers

    def _wrong(self, key: str, wanted: str) -> SchemaChanged:
        return SchemaChanged(
            self._provider, f"{self._where}.{key} should be {wanted} and is {_kind(self._value.get(key))}"
        )


def records(provider: str, where: str, value: Any) -> Iterator[Record]:
    """The objects of an array. What is none among them costs itself; raises `SchemaChanged` if none of them is."""
    if not isinstance(value, list):
        raise SchemaChanged(provider, f"{where} should be an array and is {_kind(value)}")
    found = [Record(provider, f"{where}[{index}]", item) for index, item in enumerate(value) if isinstance(item, dict)]
    if value and not found:
        Record(provider, f"{where}[0]", value[0])
    if len(found) < len(value):
        log.warning("%s: %d items of %s are no objects and were left out", provider, len(value) - len(found), where)
    return iter(found)


def each_row(
    provider: str,
    name: str,
    items: Iterable[Record],
    read: Callable[[Record], Made | None],
    *,
    fault: str = "were left out",
) -> list[Made]:
    """What can be read of the items. Raises `SchemaChanged` if none can: then it is the format that is another."""
    made: list[Made] = []
    odd: list[SchemaChanged] = []
    for item in items:
        try:
            row = read(item)
        except SchemaChanged as error:
            odd.append(error)
        else:
            if row is not None:
                made.append(row)
    if odd and not made:
        raise odd[0]
    if odd:
        log.warning("%s: %d rows of %s %s: %s", provider, len(odd), name, fault, odd[0])
    return made


def with_days(provider: str, what: str, items: Iterable[Record], key: str) -> list[tuple[date, Record]]:
    """The items whose day can be read, with it; the others cost themselves. Raises `SchemaChanged` if none of several can be."""
    return each_row(provider, what, items, lambda item: (item.day(key), item), fault="have no date and were left out")


def _kind(value: Any) -> str:
    if value is None:
        return "missing"
    kinds = {
        bool: "true or false",
        int: "a number",
        float: "a number",
        str: "text",
        list: "an array",
        dict: "an object",
    }
    return kinds.get(type(value), type(value).__name__)
