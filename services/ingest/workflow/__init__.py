"""Load, fetch, write: what the ingest service does when it is woken."""

from services.ingest.workflow.worker import IngestWorker

__all__ = ["IngestWorker"]
