"""The import: one page, four steps that stay visible. Nothing is kept between them but what the form itself carries."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import Depends, File, Form, Query, Request, UploadFile
from fastapi.responses import Response
from sqlalchemy.ext.asyncio import AsyncConnection

from services.coordinator import serializers
from services.coordinator.context import Context, Ctx
from services.coordinator.errors import Refused
from services.coordinator.importer.account import ACCOUNT_TYPES
from services.coordinator.importer.columns import COLUMNS
from services.coordinator.importer.dialects import DIALECTS
from services.coordinator.importer.model import MAX_ISSUES
from services.coordinator.importer.parse import Parsed, is_recognised
from services.coordinator.importer.reader import MAX_BYTES
from services.coordinator.importer.reading import Options
from services.coordinator.portfolios import imports, lookups, service, validation
from services.coordinator.portfolios.additions import Adding
from services.coordinator.portfolios.estimate import estimate
from services.coordinator.portfolios.import_records import File as Described
from services.coordinator.web.rendering import STATIC, page
from services.coordinator.web.routes.common import apply_change, back
from services.coordinator.web.routes.common import router as made
from services.coordinator.web.texts import gettext as _
from services.coordinator.web.views import importing as views
from shared.db.engine import snapshot

router = made()
# The importer's own limit is said with its own words; the form may carry a little more.
MOST = MAX_BYTES + 1


@dataclass
class Given:
    """What the form says, whichever step it was sent from."""

    text: str
    filename: str
    name: str
    equity: str
    account_type: str
    currency: str
    basis: str
    dialect: str
    into: UUID | None
    columns: dict[int, str]
    fixes: list[tuple[int, str, str]]
    dropped: set[int]

    def options(self) -> Options:
        """What the user says about the file. Without a dialect a broker's layout has its own, any other file the plain one."""
        currency = self.currency.strip().upper() or "USD"
        return Options(dialect=DIALECTS.get(self.dialect), price_basis=self.basis, currency=currency)


async def _read_form(
    request: Request,
    file: Annotated[UploadFile | None, File()] = None,
    text: Annotated[str, Form()] = "",
    filename: Annotated[str, Form(max_length=255)] = "",
    name: Annotated[str, Form()] = "",
    equity_balance: Annotated[str, Form()] = "",
    account_type: Annotated[str, Form()] = "",
    currency: Annotated[str, Form()] = "",
    price_basis: Annotated[str, Form()] = "auto",
    dialect: Annotated[Literal["", "iso", "us", "uk", "eu"], Form()] = "",
    into: Annotated[str, Form()] = "",
    fix: Annotated[str, Form()] = "",
) -> Given:
    content = await file.read(MOST) if file is not None and file.filename else b""
    if file is not None and content:
        text, filename = content.decode("utf-8-sig", errors="replace"), file.filename or ""
    form = await request.form()
    chosen = {
        int(key.removeprefix("column_")): str(value)
        for key, value in form.items()
        if key.startswith("column_") and key.removeprefix("column_").isdigit() and value in ("", *COLUMNS)
    }
    fixes, dropped = _repairs(fix, {key: str(value) for key, value in form.items()})
    return Given(
        text=text.replace("\r\n", "\n"),
        filename=filename,
        name=name.strip() or filename.removesuffix(".csv"),
        equity=equity_balance,
        account_type=account_type,
        currency=currency,
        basis=price_basis,
        dialect=dialect,
        into=UUID(into) if into else None,
        # A new file has columns of its own.
        columns={} if content else chosen,
        fixes=fixes,
        dropped=dropped,
    )


def _repairs(pressed: str, form: dict[str, str]) -> tuple[list[tuple[int, str, str]], set[int]]:
    """Cells to put right and lines to leave out: every cell of the list as it is written now, then the button that was pressed."""
    fields = [(key.split("|"), value) for key, value in form.items() if key.startswith("cell|")]
    written = [(int(parts[1]), parts[2], value) for parts, value in fields if len(parts) == 3 and parts[1].isdigit()]
    try:
        wanted = json.loads(pressed) if pressed.startswith("{") else {}
        fixes = [(int(row), str(column), str(value)) for row, column, value in wanted.get("cells", [])]
        return written + fixes, {int(row) for row in wanted.get("drop", [])}
    except (ValueError, TypeError):
        # No button of ours: what is written in the cells counts all the same.
        return written, set()


Form_ = Annotated[Given, Depends(_read_form)]


@router.get("/import")
async def empty(
    request: Request,
    into: Annotated[UUID | None, Query()] = None,
    sample: bool = False,  # noqa: FBT001, FBT002 (a query parameter)
) -> Response:
    given = Given("", "", "", "", "taxable", "USD", "auto", "", into, {}, [], set())
    if sample:
        text = (STATIC / "sample.csv").read_text(encoding="utf-8")
        given = Given(text, "sample.csv", "Sample", "500000", "taxable", "USD", "auto", "", None, {}, [], set())
    return page(request, "import.html", **_view_of_form(given))


@router.post("/import")
async def check_import(request: Request, context: Ctx, given: Form_) -> Response:
    """Steps one to four: read, map, check and estimate. Saves nothing."""
    if given.fixes:
        given.text = await asyncio.to_thread(views.with_cells, given.text, given.fixes)
    if given.dropped:
        given.text = await asyncio.to_thread(views.without_rows, given.text, given.dropped)
    shown = await asyncio.to_thread(_view_of_form, given)
    if not given.text.strip():
        return page(request, "import.html", status=422, **(shown | {"nothing": _("Choose a file or paste its rows.")}))
    try:
        preview = await _preview(context, given, shown["csv"])
    except Refused as error:
        return page(request, "import.html", status=422, **(shown | _view_of_faults(error)))
    rows = views.preview(preview)
    return page(
        request,
        "import.html",
        **(shown | {"preview": preview, "rows": rows, "estimate": preview["estimate"], "checked": True}),
    )


@router.post("/import/commit")
async def commit(request: Request, context: Ctx, given: Form_) -> Response:
    """Imports what was checked, and checks it again: prices may have come in between."""
    shown = await asyncio.to_thread(_view_of_form, given)
    content, file = shown["csv"].encode(), Described(given.filename or None)
    try:
        if given.into is not None:
            into = given.into
            parsed = await _parse_into(context, given, into, content)
            adding = Adding(context.clock, into, parsed, file, limits=context.limits)
            result = await apply_change(context, adding.add, adding.stage)
        else:
            draft, prepared = await _draft(context, given, content), list[imports.PreparedFile]()

            async def prepare(conn: AsyncConnection) -> None:
                prepared.append(
                    await imports.prepare(conn, context.clock, draft, file, context.limits, allow_duplicate_name=False)
                )

            result = await apply_change(context, lambda conn: imports.create(conn, context.clock, prepared[0]), prepare)
    except Refused as error:
        return page(request, "import.html", status=422, **(shown | _view_of_faults(error)))
    said = _("{n} positions imported. Figures arrive while you watch.").format(n=result.positions)
    undo = "" if given.into else "?imported=1"
    return back(f"/p/{result.portfolio_id}{undo}", said)


async def _preview(context: Context, given: Given, csv_text: str) -> dict[str, Any]:
    content, file = csv_text.encode(), Described(given.filename or None)
    if given.into is not None:
        parsed = await _parse_into(context, given, given.into, content)
        async with snapshot(context.engine) as conn:
            result = await Adding(context.clock, given.into, parsed, file, limits=context.limits).add(
                conn, dry_run=True
            )
            costs = await estimate(conn, context.clock, [lot for lot, _ in result.decisions])
    else:
        draft = await _draft(context, given, content)
        async with snapshot(context.engine) as conn:
            result = await imports.preview(conn, context.clock, draft, context.limits)
            costs = await estimate(conn, context.clock, [lot for lot, _ in result.decisions])
    body = await asyncio.to_thread(serializers.import_answer, result, preview=True)
    body["estimate"] = costs.document()
    await lookups.annotate(context.engine, context.clock, result.decisions, body)
    return body


async def _parse_into(context: Context, given: Given, into: UUID, content: bytes) -> Parsed:
    async with snapshot(context.engine) as conn:
        # A row in another currency than the portfolio's is none of its lots.
        currency = (await service.get_existing(conn, into)).currency
    options = replace(given.options(), currency=currency)
    parsed = await asyncio.to_thread(validation.from_csv, content, None, options, context.clock)
    # Each faulty cell can be mended here, so each is shown.
    parsed.issues.shown = MAX_ISSUES
    return parsed


async def _draft(context: Context, given: Given, content: bytes) -> validation.Draft:
    draft = await asyncio.to_thread(
        validation.from_file,
        content,
        None,
        name=given.name,
        account_type=given.account_type,
        equity=given.equity,
        currency=given.currency,
        options=given.options(),
        clock=context.clock,
    )
    draft.issues.shown = MAX_ISSUES
    return draft


def _view_of_form(given: Given) -> dict[str, Any]:
    """What every step shows: the text, what its columns are taken for, and the text as the importer reads it."""
    found = views.sheet(given.text)
    mapping = views.columns(found, given.columns)
    # A broker's file is read as it is; so is nothing that the user has named columns of.
    known = not given.columns and is_recognised(given.text)
    return {
        "given": given,
        "columns": mapping,
        "missing": views.missing_columns(mapping) if found.headers and not known else [],
        "separator": found.separator,
        "csv": given.text if known else views.rewrite_for_importer(given.text, found, mapping),
        "ours": COLUMNS,
        "account_types": ACCOUNT_TYPES,
        "dialects": [(of.name, of.means) for of in DIALECTS.values()],
        "rows_total": max(0, len([row for row in found.rows if row]) - 1),
        "faults": [],
        "faults_total": 0,
        "repairable": [],
        "preview": None,
        "rows": [],
        "estimate": None,
        "checked": False,
        "nothing": "",
        "minutes": views.minutes,
    }


def _view_of_faults(error: Refused) -> dict[str, Any]:
    found = views.faults(error.errors)
    shown = found[: views.SHOWN_ERRORS]
    cells = [[fault.row, fault.column, fault.repair] for fault in found if fault.row and fault.column and fault.repair]
    return {
        "faults": shown,
        "faults_total": len(found),
        "repairable": cells,
        "nothing": "" if found else str(error),
        "checked": True,
    }
