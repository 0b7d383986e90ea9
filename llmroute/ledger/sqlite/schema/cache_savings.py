"""SQL that computes what prompt caches saved an attempt, by the price in its row.

The rules are those of `registry.pricing.token_charges`, which computes the cost.
"""

from __future__ import annotations

# A thousand USD, as of a cost.
_MOST = 10**15

# The tier of the prompt's length, or the price itself.
_RATES = """
            SELECT ifnull(
                (
                    SELECT value FROM json_each({row}price, '$.tiers')
                    WHERE json_extract(value, '$.above') < {row}input_tokens
                    ORDER BY json_extract(value, '$.above') DESC LIMIT 1
                ), {row}price
            ) AS rates, min(max(ifnull({row}cached_input_tokens, 0), 0), {row}input_tokens) AS read LIMIT 1"""
# Tokens read, written and kept for an hour, no more than the prompt has.  With a limit inside and a condition outside,
# SQLite computes each value once.
_PRICED = f"""
        SELECT read, min(max(ifnull({{row}}cache_write_tokens, 0), 0), {{row}}input_tokens - read) AS written,
            json_extract(rates, '$.input') AS input, json_extract(rates, '$.cache_read') AS read_rate,
            json_extract(rates, '$.cache_write') AS write_rate, json_extract(rates, '$.cache_write_1h') AS hour_rate
        FROM ({_RATES}) WHERE json_extract(rates, '$.output') IS NOT NULL LIMIT 1"""  # noqa: S608 (own names)
_HOUR = "min(max(ifnull({row}cache_write_1h_tokens, 0), 0), written)"
# The savings in pico-USD; negative where writes cost more than reads saved.
CACHE_SAVED = f"""
        {{sign}} iif(
            {{row}}input_tokens > 0 AND ({{row}}cached_input_tokens > 0 OR {{row}}cache_write_tokens > 0)
                AND json_valid({{row}}price),
            ifnull((
                SELECT max(-{_MOST}, min({_MOST}, CAST(
                    read * (input - ifnull(read_rate, input))
                    + (written - {_HOUR}) * (input - ifnull(write_rate, input))
                    + {_HOUR} * (input - coalesce(hour_rate, write_rate, input)) AS INTEGER
                ))) FROM ({_PRICED}) WHERE input IS NOT NULL
            ), 0), 0
        ) AS cache_saved_picousd"""  # noqa: S608 (own names)
