"""Which bucket a portfolio is in, and how the members of a piece of work are shared by buckets. Pure.

A topic has as many buckets as partitions: one bucket is one partition's, and whoever reads that partition does it.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import TypeVar
from uuid import UUID

T = TypeVar("T")


def bucket_of(portfolio: UUID, buckets: int) -> int:
    """The portfolio's bucket among so many: the same in every process and release, and even however ids are made."""
    digest = hashlib.blake2b(portfolio.bytes, digest_size=8).digest()
    return int.from_bytes(digest, "big") % buckets


def pieces(members: Sequence[T], buckets: int, least: int, portfolio_of: Callable[[T], UUID]) -> list[Sequence[T]]:
    """The members by bucket, as finely as each piece still has `least` of them: one piece in the end.

    A piece is one bucket, or as many as divide the number of buckets, so that all pieces are of about equal size. Members of one bucket
    alone stay one piece, however many they are: a part of a piece, announced by whoever did it, is cut no further.
    """
    if buckets == 1 or len(members) < 2 * least:
        return [members]
    placed = [(bucket_of(portfolio_of(member), buckets), member) for member in members]
    for count in range(buckets, 1, -1):
        if buckets % count:
            continue
        found: dict[int, list[T]] = defaultdict(list)
        for bucket, member in placed:
            found[bucket % count].append(member)
        if all(len(piece) >= least for piece in found.values()):
            return [found[number] for number in sorted(found)]
    return [members]
