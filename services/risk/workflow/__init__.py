"""Load, compute, save: the risk phase."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from uuid import UUID

import yaml
from pydantic import ConfigDict, TypeAdapter
from sqlalchemy.ext.asyncio import AsyncConnection
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from services.risk.compute.curve import with_curve_durations
from services.risk.compute.report import build_reports
from services.risk.compute.scenario_file import parse
from services.risk.compute.scenarios import BadScenarios, Scenarios
from services.risk.store import results as store
from services.risk.store.inputs import DatedValues
from services.risk.workflow.assemble import Inputs, read
from services.risk.workflow.scenario_sets import scenarios_in_force
from shared.db.kept_prices import KeptPrices
from shared.ledger import Completed, Outcome
from shared.market.registry import MODEL_VERSION
from shared.work import Batch, Phase, UnitKey

_documents = TypeAdapter[Any](Any, config=ConfigDict(ser_json_inf_nan="constants"))
_strict = json.JSONEncoder(allow_nan=False, separators=(",", ":"))
BUILT_IN = Path(__file__).parent.parent / "scenarios.yaml"


# YAML is read character by character, a quarter of a megabyte in seconds: five hundred scenarios take a fifth of it.
MOST_BYTES = 262_144


def load_scenarios(own: Path | None = None) -> Scenarios:
    """The built-in scenarios and the user's own file's. Raises `BadScenarios` naming file and entry."""
    scenarios = _read(BUILT_IN)
    if own is None:
        return scenarios
    mine = _read(own)
    try:
        return scenarios.extend(mine)
    except BadScenarios as error:
        raise BadScenarios(f"{own}: {error}") from error


def _read(path: Path) -> Scenarios:
    try:
        size = path.stat().st_size
        if size > MOST_BYTES:
            raise BadScenarios(f"the scenario file has {size} bytes; at most {MOST_BYTES}")
        return parse(yaml.safe_load(path.read_text(encoding="utf-8")))
    # A day that does not exist, or bytes that are no text, is a ValueError; brackets without an end are too deep.
    except RecursionError:
        raise BadScenarios(f"{path}: lists or mappings stand too deep in one another") from None
    except (OSError, yaml.YAMLError, ValueError, BadScenarios) as error:
        raise BadScenarios(f"{path}: {error}") from error


def _json(document: object) -> bytes:
    """JSON of a document. Raises `ValueError` on a NaN, which must never leave through one.

    The encoder is several times as fast as the strict one, but writes NaN; where it may have, the strict one decides: a sector can have
    the word in its name.
    """
    encoded = _documents.dump_json(document)
    return _strict.encode(document).encode() if b"NaN" in encoded or b"Infinity" in encoded else encoded


@dataclass(frozen=True)
class RiskResults:
    """What was computed, ready to be written: rows of `risk.results` without their key columns, as the store encodes them."""

    outcomes: Mapping[UnitKey, Outcome]
    rows: Mapping[UnitKey, bytes]
    scenarios: Scenarios
    """What they were computed with."""
    shared: Mapping[UUID, store.OfSession]
    """By digest, what all portfolios of a session have in common."""


class RiskWorker:
    """The risk phase's own part. A unit whose snapshot is not there has no outcome and stays missing."""

    phase = Phase.RISK

    def __init__(self, scenarios: Scenarios) -> None:
        self._scenarios = scenarios
        self._kept = KeptPrices[DatedValues]()
        # The matrices are small: BLAS threads wait for each other longer than they compute (a hundredfold on two busy cores),
        # and their number would have a say in the last digit. For the process, since the setting has no other scope.
        threadpool_limits(limits=1, user_api="blas")

    async def load(self, conn: AsyncConnection, batch: Batch) -> Inputs:
        """Holdings, prices and factor facts of the batch, from the caller's snapshot. Raises `OtherScenarios`."""
        scenarios = await scenarios_in_force(conn, self._scenarios)
        return replace(await read(conn, batch, self._kept), scenarios=scenarios)

    def compute(self, inputs: Inputs) -> RiskResults:
        """Pure; rows are encoded here too, since this runs off the event loop."""
        own = inputs.scenarios or self._scenarios
        scenarios = with_curve_durations(own, inputs.panel.curves, inputs.panel.sessions)
        found = build_reports(inputs.panel, inputs.book, scenarios)
        keys = [UnitKey(report.portfolio_id, report.session) for report in found]
        whole: dict[str, Sequence[Any]] = {
            "quality": [report.quality for report in found],
            "coverage": [report.coverage for report in found],
            "reasons": [_json(report.reasons) for report in found],
            "risk": [_json(report.risk) for report in found],
            "scenario_set": [own.digest()] * len(found),
            "provisional": [key in inputs.provisional for key in keys],
        }
        figures = {name: [report.columns[name] for report in found] for name in store.FIGURE_COLUMNS}
        outcomes = [
            Outcome(report.quality, report.coverage, report.reasons, key in inputs.provisional)
            for key, report in zip(keys, found, strict=True)
        ]
        return RiskResults(
            dict(zip(keys, outcomes, strict=True)),
            dict(zip(keys, store.encode_rows(whole | figures), strict=True)),
            own,
            {
                report.columns["shocks_id"]: store.OfSession(
                    *(report.columns[name] for name in ("shocks", "factor_names", "factor_matrix"))
                )
                for report in found
            },
        )

    async def save(self, conn: AsyncConnection, results: RiskResults, raised: Completed) -> None:
        """Write the results of the units that were raised, and of no other."""
        if raised.revision:
            of = results.scenarios
            await store.save_scenarios(conn, of.digest(), of.to_json(), of.durations_to_json())
            await store.save_shared(conn, results.shared)
        await store.save(conn, results.rows, raised.revision, MODEL_VERSION)
