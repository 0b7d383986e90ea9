"""Migration 6: an attempt that a host sends after it was pruned counts once, and a cap binds from when it is set.

Rows tell entries that come again from new ones until they are deleted.  What could come later is kept apart then.
"""

from __future__ import annotations

from llmroute.ledger.postgres.schema.budgets import set_cap
from llmroute.ledger.postgres.schema.sums import BY_KEY, delta, merge
from llmroute.ledger.postgres.schema.tables import COARSE, COUNTERS, granted_as_attempts
from llmroute.ledger.postgres.schema.writes import CHECK_CAPS, begin, settle, write

_TABLE = f"""
SELECT set_config('lock_timeout', '1000', true);
LOCK TABLE {{schema}}.windows IN SHARE ROW EXCLUSIVE MODE;

CREATE TABLE {{schema}}.late_attempts (
    -- Attempts that a host may send after they were deleted: lost ones that were, as the row was, because the host may
    -- have their end; and those that a spool brought, until the host has removed them from it.
    request_id text COLLATE "C" NOT NULL,
    attempt bigint NOT NULL,
    started_ms bigint NOT NULL,
    lost jsonb,
    PRIMARY KEY (request_id, attempt, started_ms)
);
{granted_as_attempts("late_attempts")}

CREATE FUNCTION {{schema}}.keep_lost_1() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO {{schema}}.late_attempts VALUES (OLD.request_id, OLD.attempt, OLD.started_ms, to_jsonb(OLD))
    ON CONFLICT (request_id, attempt, started_ms) DO UPDATE SET lost = excluded.lost;
    RETURN NULL;
END $$;
CREATE TRIGGER keep_lost AFTER DELETE ON {{schema}}.attempts
    FOR EACH ROW WHEN (OLD.status = 'lost' AND OLD.corrected_ms IS NULL) EXECUTE FUNCTION {{schema}}.keep_lost_1();
"""  # noqa: S608 (own names)

_KEY = "request_id = made.request_id AND attempt = made.attempt AND started_ms = made.started_ms"
_LATE = f"""
-- Whether an entry is to be written: not where its attempt was here and is deleted.  That of a lost one is, and what
-- the loss counts with is taken back.  `begun` says that the beginning was here, `spooled` that it may come again.
CREATE FUNCTION {{schema}}.takes_late_1(made {{schema}}.attempts, entry jsonb) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    lost {{schema}}.attempts;
BEGIN
    IF made.started_ms < (SELECT before_ms FROM {{schema}}.pruned) THEN
        PERFORM 1 FROM {{schema}}.attempts WHERE {_KEY} FOR UPDATE;
        IF NOT FOUND THEN
            SELECT (jsonb_populate_record(NULL::{{schema}}.attempts, late.lost)).* INTO lost
                FROM {{schema}}.late_attempts AS late WHERE {_KEY} FOR UPDATE;
            IF lost.status IS NULL THEN
                IF FOUND OR (entry ->> 'begun')::boolean THEN
                    RETURN false;
                END IF;
            ELSE
                {delta("lost", "-", COUNTERS)}
                UPDATE {{schema}}.windows SET spent_picousd = spent_picousd - coalesce(lost.cost_picousd, 0)
                WHERE workspace IN ('', coalesce(lost.workspace, ''))
                    AND start_ms <= lost.started_ms AND end_ms > lost.started_ms;
                DELETE FROM {{schema}}.late_attempts WHERE {_KEY};
            END IF;
        END IF;
    END IF;
    IF (entry ->> 'spooled')::boolean THEN
        INSERT INTO {{schema}}.late_attempts VALUES (made.request_id, made.attempt, made.started_ms)
            ON CONFLICT DO NOTHING;
    END IF;
    RETURN true;
END $$;

-- Forgets attempts that a host has removed from its spool.
CREATE FUNCTION {{schema}}.forget_late_1(keys jsonb) RETURNS void LANGUAGE sql AS $$
    DELETE FROM {{schema}}.late_attempts AS late
    USING jsonb_to_recordset(keys) AS gone (request_id text, attempt bigint, started_ms bigint)
    WHERE late.request_id = gone.request_id AND late.attempt = gone.attempt AND late.started_ms = gone.started_ms
        AND late.lost IS NULL
$$;
"""  # noqa: S608 (own names)


def _unless_late(result: str) -> str:
    return f"""
    IF NOT {{schema}}.takes_late_1(made, entry) THEN
        RETURN jsonb_build_object({result});
    END IF;"""


# A caller that sets a cap waits for the writes in progress, and later ones see the cap.
_LOCK = """
    PERFORM set_config('lock_timeout', '8000', true);
    LOCK TABLE {schema}.windows IN SHARE ROW EXCLUSIVE MODE;"""

REVISION = (
    _TABLE
    + _LATE
    + "".join(
        function.replace("CREATE FUNCTION", "CREATE OR REPLACE FUNCTION")
        for function in (
            begin(_unless_late("'reserved', made.reserved_picousd")),
            settle(_unless_late("'near', NULL")),
            write(before="", after=CHECK_CAPS),
            set_cap(_LOCK),
            merge(COARSE, COUNTERS, BY_KEY),
        )
    )
)
