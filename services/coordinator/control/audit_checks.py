"""What the auditor asks the database, a statement a kind of drift.

Each answers (portfolio, phase, first session, number of units), for the portfolios of one slice.
"""

from __future__ import annotations

from shared.events.services import COMPLETION
from shared.messaging import dead_letters

# Message types by phase, as parameters of the statements.
TYPES = {f"{phase.value}_type": event.type_name() for phase, event in COMPLETION.items()}
_PORTFOLIOS = "u.portfolio_id = ANY (CAST(:portfolios AS uuid[]))"

CHECKS = {
    "impossible_revision": f"""
        SELECT u.portfolio_id, CAST(u.phase AS text), min(u.session), count(*)
        FROM ledger.units u, (SELECT coalesce(pg_sequence_last_value('ledger.change'), 0) AS drawn) c
        WHERE {_PORTFOLIOS} AND (u.completed_revision > u.required_revision OR u.required_revision > c.drawn
              OR u.completed_revision > 0 AND u.completed_at IS NULL)
        GROUP BY 1, 2
    """,
    # A raise at one revision reaches the dependent phases of the session, and for snapshots all later ones: so none is
    # below its upstream, and along the chain revisions never fall.
    "not_closed": f"""
        SELECT portfolio_id, phase, min(session), count(*) FROM (
            SELECT u.portfolio_id, u.session, 'factors' AS phase, u.required_revision < up.required_revision AS open
            FROM ledger.units u JOIN ledger.units up ON up.portfolio_id = u.portfolio_id AND up.session = u.session
                AND up.phase = 'ingest'
            WHERE {_PORTFOLIOS} AND u.phase = 'factors'
            UNION ALL
            SELECT u.portfolio_id, u.session, 'snapshots',
                   u.required_revision < max(greatest(u.required_revision, up.required_revision))
                       OVER (PARTITION BY u.portfolio_id ORDER BY u.session)
            FROM ledger.units u JOIN ledger.units up ON up.portfolio_id = u.portfolio_id AND up.session = u.session
                AND up.phase = 'ingest'
            WHERE {_PORTFOLIOS} AND u.phase = 'snapshots'
            UNION ALL
            SELECT u.portfolio_id, u.session, 'risk', u.required_revision < up.required_revision
            FROM ledger.units u JOIN ledger.units up ON up.portfolio_id = u.portfolio_id AND up.session = u.session
                AND up.phase IN ('factors', 'snapshots')
            WHERE {_PORTFOLIOS} AND u.phase = 'risk'
        ) d WHERE open GROUP BY 1, 2
    """,
    "no_result": f"""
        SELECT u.portfolio_id, CAST(u.phase AS text), min(u.session), count(*)
        FROM ledger.units u
        LEFT JOIN snapshots.snapshots s ON u.phase = 'snapshots' AND s.portfolio_id = u.portfolio_id AND s.session = u.session
        LEFT JOIN snapshots.holdings h ON u.phase = 'snapshots' AND h.portfolio_id = u.portfolio_id AND h.session = u.session
        LEFT JOIN risk.results r ON u.phase = 'risk' AND r.portfolio_id = u.portfolio_id AND r.session = u.session
        WHERE {_PORTFOLIOS} AND u.completed_revision > 0 AND (
            u.phase = 'snapshots' AND (s.revision IS DISTINCT FROM u.completed_revision
                                       OR h.revision IS DISTINCT FROM u.completed_revision)
            OR u.phase = 'risk' AND r.revision IS DISTINCT FROM u.completed_revision)
        GROUP BY 1, 2
    """,
    "no_event": f"""
        WITH announced AS MATERIALIZED (
            SELECT o.type, o.created_at, CAST(p.id AS uuid) AS portfolio_id, CAST(o.body #>> '{{work,from}}' AS date) AS first,
                   CAST(o.body #>> '{{work,to}}' AS date) AS last
            FROM (SELECT type, created_at, CAST(payload AS jsonb) AS body FROM bus.outbox
                  WHERE type IN (:ingest_type, :factors_type, :snapshots_type, :risk_type)
                    AND created_at > clock_timestamp() - CAST(:within AS interval)) o
            CROSS JOIN LATERAL jsonb_array_elements_text(o.body #> '{{work,portfolios}}') AS p (id)
        )
        SELECT u.portfolio_id, CAST(u.phase AS text), min(u.session), count(*)
        FROM ledger.units u
        WHERE {_PORTFOLIOS} AND u.completed_at > clock_timestamp() - CAST(:within AS interval) AND NOT EXISTS (
            SELECT 1 FROM announced a
            WHERE a.portfolio_id = u.portfolio_id AND u.session BETWEEN a.first AND a.last AND a.created_at >= u.completed_at
              AND a.type = CASE u.phase WHEN 'ingest' THEN :ingest_type WHEN 'factors' THEN :factors_type
                                        WHEN 'snapshots' THEN :snapshots_type ELSE :risk_type END)
        GROUP BY 1, 2
    """,
    "no_letter": f"""
        WITH letters AS MATERIALIZED ({dead_letters.ABOUT_UNITS})
        SELECT u.portfolio_id, CAST(u.phase AS text), min(u.session), count(*)
        FROM ledger.units u
        WHERE {_PORTFOLIOS} AND u.blocked_reason IS NOT NULL AND NOT EXISTS (
            SELECT 1 FROM letters d WHERE d.portfolio_id = u.portfolio_id AND d.phase = u.phase)
        GROUP BY 1, 2
    """,
    "other_model": f"""
        SELECT u.portfolio_id, CAST(u.phase AS text), min(u.session), count(*)
        FROM ledger.units u
        LEFT JOIN snapshots.snapshots s ON u.phase = 'snapshots' AND s.portfolio_id = u.portfolio_id AND s.session = u.session
        LEFT JOIN risk.results r ON u.phase = 'risk' AND r.portfolio_id = u.portfolio_id AND r.session = u.session
        WHERE {_PORTFOLIOS} AND u.phase IN ('snapshots', 'risk') AND u.completed_revision >= u.required_revision
          AND coalesce(s.model_version, r.model_version) <> :model
        GROUP BY 1, 2
    """,
}
