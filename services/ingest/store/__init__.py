"""SQL of the ingest service. It writes `ingest.*` only; everything takes the caller's connection, whoever opened it commits."""
