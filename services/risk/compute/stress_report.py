"""The stress document."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from services.risk.compute.aggregation import Exposures
from services.risk.compute.factor_model import FactorModel
from services.risk.compute.inputs import Panel, Stack
from services.risk.compute.reasons import LOW_COVERAGE, Document, Reasons, nullable
from services.risk.compute.series import coverage
from services.risk.compute.stress import Shocks, apply
from shared.arrays import FloatMatrix
from shared.market.registry import COVERAGE_GATE, FACTOR_NAMES


def stress_documents(
    panel: Panel, model: FactorModel, stack: Stack, joint: Exposures, shocks: list[Shocks], reasons: list[Reasons]
) -> list[Document]:
    """One document a unit of the stack; a withheld scenario is null with its reason, and named in `reasons`."""
    covered = np.isfinite(joint.betas[:, :, 0])
    trusted = coverage(stack.gross, covered.astype(np.float64)) >= COVERAGE_GATE
    uncovered = np.where(covered, 0.0, stack.gross).sum(axis=-1).tolist()
    names = [[panel.symbols[row] for row in rows] for rows in stack.rows.tolist()]
    documents: list[Document] = [{"scenarios": []} for _ in names]
    for shock in shocks:
        scripted = shock.scenario.scripted()
        direct = _legs(stack, joint, model, shock.direct, names)
        propagated = _legs(stack, joint, model, shock.propagated, names)
        for i, s in enumerate(stack.sessions.tolist()):
            reason = shock.reasons[s] or (None if trusted[i] else LOW_COVERAGE)
            if reason is not None:
                reasons[i].add(reason, figure=f"stress.{shock.scenario.id}")
            moves = _moves(shock.raw[s], model.available[s])
            documents[i]["scenarios"].append(
                {
                    "id": shock.scenario.id,
                    "name": shock.scenario.name,
                    "shocks": _scripted(shock, scripted, s),
                    "capped": [] if reason else _named(shock.capped[s]),
                    "uncovered_value": uncovered[i],
                    "reason": reason,
                    "direct": None if reason else direct[i],
                    "propagated": None if reason else propagated[i] | {"shocks": moves},
                }
            )
    return documents


def _legs(
    stack: Stack, joint: Exposures, model: FactorModel, shock: FloatMatrix, names: list[list[str]]
) -> list[Document]:
    loss = apply(stack.value, joint.betas, shock[stack.sessions])
    money, fraction = nullable(loss.money), nullable(loss.money / stack.nav)
    by_factor, by_position = nullable(loss.by_factor), nullable(loss.by_position)
    available = model.available[stack.sessions].tolist()
    return [
        {
            "money": money[i],
            "fraction": fraction[i],
            "by_factor": {name: by_factor[i][k] for k, name in enumerate(FACTOR_NAMES) if available[i][k]},
            "by_position": dict(zip(names[i], by_position[i], strict=True)),
        }
        for i in range(len(names))
    ]


def _scripted(shock: Shocks, scripted: tuple[int, ...], s: int) -> dict[str, float | None]:
    """Returns of the raw proxies as scripted; a yield shock whose return is unknown is null."""
    unknown = shock.reasons[s] is not None
    shown: dict[str, float | None] = {}
    for k in scripted:
        name = FACTOR_NAMES[k]
        stated = shock.scenario.shocks.get(name)
        shown[name] = stated if stated is not None else None if unknown else float(shock.scripted[s, k])
    return shown


def _named(flags: NDArray[np.bool_]) -> list[str]:
    return [name for name, flag in zip(FACTOR_NAMES, flags.tolist(), strict=True) if flag]


def _moves(raw: NDArray[np.float64], available: NDArray[np.bool_]) -> dict[str, float]:
    return {
        name: value for name, value, there in zip(FACTOR_NAMES, raw.tolist(), available.tolist(), strict=True) if there
    }
