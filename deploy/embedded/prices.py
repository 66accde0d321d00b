"""The price file, looked at before anything starts, by the reader that the ingest service uses."""

from __future__ import annotations

from shared.settings import ServiceSettings


def check(settings: ServiceSettings) -> str:
    """What the price file holds, in a line; or that none is asked for. `settings` are ingest's.

    Raises `ConfigurationError` with the faults, by file, column and row.
    """
    # With pyarrow, which a coordinator's machine need not have.
    from services.ingest.providers.file.provider import FileProvider
    from services.ingest.settings import IngestSettings
    from shared.market.calendar import exchange_calendar

    assert isinstance(settings, IngestSettings)
    if "file" not in settings.providers:
        return "the file provider is not asked"
    skip = settings.data_bad_rows == "skip"
    provider = FileProvider(settings.data, exchange_calendar, skip_bad_rows=skip)
    said = f"{settings.data}, {len(provider.symbols()):,} symbols"
    for left in provider.skipped_rows():
        said += f"; {left.rows:,} bad rows of {left.file} left out, the first: {left.why[0]}"
    return said
