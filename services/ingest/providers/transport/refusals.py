"""How a vendor says no: in which words, and what they are about."""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from services.ingest.providers.errors import PlanLimited

# A vendor that says "too fast" and not for how long.
RETRY_AFTER = timedelta(minutes=1)
_WORD = re.compile(r"[a-z]+")
# Typographic ones, which a vendor's pages and its interface put in turns.
_APOSTROPHES = str.maketrans(dict.fromkeys("\u2018\u2019\u02bc\u2032\uff07\u0060\u00b4", "'"))


def comparable(said: str) -> str:
    """A vendor's words as phrases are compared with them: lower case, straight apostrophes, single spaces."""
    return " ".join(said.translate(_APOSTROPHES).lower().split())


def read_json(body: bytes) -> tuple[Any, bool]:
    """The document, and whether the body is one."""
    try:
        return json.loads(body), True
    except (ValueError, RecursionError):
        return None, False


@dataclass(frozen=True, slots=True)
class VendorErrorRules:
    """What is peculiar to a vendor's refusals.

    variable     : the environment variable of the key, named where it is refused.
    plan_phrases : of a 402 or 403 body that is about the plan and not about the key, in lower case, with a straight apostrophe.
    plan_words   : the same as whole words, where the vendor's refusals of a key have none of them.
    plans        : phrases of refusals for which there is a kind of its own, looked for before `plan_phrases`.
    refusal      : reads a body, of any status, that is an error in the vendor's own words; None if it is none.
    bare         : the same of a body that is not in the vendor's format; None if it is no sentence either.
    gone_phrases : of a refusal that no key and no plan lifts, because the vendor's interface is another by now, in lower case.
    retry_after  : for a 429 without Retry-After.
    read         : a body as a document, and whether it is one; JSON unless the vendor answers in something else.
    """

    name: str
    variable: str
    plan_phrases: tuple[str, ...] = ()
    plan_words: tuple[str, ...] = ()
    plans: tuple[tuple[str, type[PlanLimited]], ...] = ()
    refusal: Callable[[Any], str | None] = lambda _body: None
    bare: Callable[[bytes], str | None] = lambda _body: None
    gone_phrases: tuple[str, ...] = ()
    limit_phrases: tuple[str, ...] = ()
    retry_after: timedelta = RETRY_AFTER
    read: Callable[[bytes], tuple[Any, bool]] = read_json

    def plan(self, said: str) -> type[PlanLimited] | None:
        """What of the plan a refusal (in lower case) is about; None if it is about something else."""
        kind = next((kind for phrase, kind in self.plans if phrase in said), None)
        if kind is not None:
            return kind
        told = any(phrase in said for phrase in self.plan_phrases)
        return PlanLimited if told or not set(self.plan_words).isdisjoint(_WORD.findall(said)) else None
