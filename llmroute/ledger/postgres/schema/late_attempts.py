"""Migration 6: an attempt that a host sends after it was pruned counts once, and a cap binds from when it is set.

An entry that comes again is known by the row of its attempt, until pruning deletes the row: then by `late_attempts`.
Functions of `writes`, `budgets`, `sums` and `moves` are replaced; their arguments and results stay.
"""

from __future__ import annotations

from typing import Final

from llmroute.ledger.postgres.schema.budgets import set_cap
from llmroute.ledger.postgres.schema.moves import move
from llmroute.ledger.postgres.schema.sums import BY_KEY, delta, merge
from llmroute.ledger.postgres.schema.tables import COARSE, COUNTERS, granted_as_attempts
from llmroute.ledger.postgres.schema.writes import CHECK_CAPS, begin, settle, write

REMEMBERS_SINCE: Final = 6
"""The first version of the schema with `late_attempts`."""

_TABLE = f"""
SELECT set_config('lock_timeout', '1000', true);
LOCK TABLE {{schema}}.windows IN SHARE ROW EXCLUSIVE MODE;

CREATE TABLE {{schema}}.late_attempts (
    -- Attempts that a host may send, or send again, after their rows are deleted.  `lost` is the deleted row of a lost
    -- attempt: its host may have the end.  It is NULL where a spool brought the attempt, which is kept here, beside
    -- its row, until the host has removed it from the spool: a host that is killed before that sends it again.
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
-- Whether an entry is to be written.  It is not where its attempt is in the sums and the row is deleted.  Where it is
-- in the sums as lost, that is subtracted from them first, and the entry is written.  `begun` says that the server had
-- the beginning of the attempt, and `spooled` that the entry may come again.
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

-- Forgets attempts that a host has removed from its spool.  It waits for no row: pruning locks them in another order,
-- and gives those that it locks a `lost` row, with which they stay.
CREATE FUNCTION {{schema}}.forget_late_1(keys jsonb) RETURNS void LANGUAGE sql AS $$
    DELETE FROM {{schema}}.late_attempts WHERE (request_id, attempt, started_ms) IN (
        SELECT late.request_id, late.attempt, late.started_ms FROM {{schema}}.late_attempts AS late
        JOIN jsonb_to_recordset(keys) AS gone (request_id text, attempt bigint, started_ms bigint)
            USING (request_id, attempt, started_ms)
        WHERE late.lost IS NULL FOR UPDATE OF late SKIP LOCKED
    )
$$;
"""  # noqa: S608 (own names)


def _unless_late(result: str) -> str:
    """Return the statement that ends a function with `result` where its entry is not to be written."""
    return f"""
    IF NOT {{schema}}.takes_late_1(made, entry) THEN
        RETURN jsonb_build_object({result});
    END IF;"""


# A caller that sets a cap waits for the writes in progress, a little shorter than the client waits for an answer; later
# writes see the cap.
_LOCK = """
    PERFORM set_config('lock_timeout', '8000', true);
    LOCK TABLE {schema}.windows IN SHARE ROW EXCLUSIVE MODE;"""

# A file has rows of a time that is pruned while they are copied: an earlier move may have brought the same ones.
_UNLESS_PRUNED = """
        IF made.started_ms < (SELECT before_ms FROM {schema}.pruned) THEN
            RAISE object_not_in_prerequisite_state
                USING MESSAGE = 'attempts were pruned here while they were copied; run the command again';
        END IF;"""

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
            move(COUNTERS, _UNLESS_PRUNED),
        )
    )
)
