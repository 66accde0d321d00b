"""What runs on its own: finds missing units, schedules sessions, applies new model versions, audits the ledger."""
