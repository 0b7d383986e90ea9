"""SQL that sums attempts by bucket (`rollups`), and rollups by coarser keys."""

from __future__ import annotations

import re

from llmroute.ledger.buckets import BUCKET_MS, BUCKETS_PER_DAY, NEVER_DAY

# The columns of rollups, and the row that one attempt adds to them.
ROLLUP_KEY = "quarter, provider, model, workspace, task, strategy, status"
_KEY_OF_ROW = f"""
        {{row}}started_ms / {BUCKET_MS} AS quarter, {{row}}provider AS provider, {{row}}model AS model,
        ifnull({{row}}workspace, '') AS workspace, ifnull({{row}}task, '') AS task,
        ifnull({{row}}strategy, '') AS strategy, {{row}}status AS status"""
# The definition of every counter.
_COUNTERS_OF_ROW = """
        {sign} 1 AS call_count, {sign} ({row}cost_picousd IS NULL) AS unknown_cost_count,
        {sign} ifnull({row}input_tokens, 0) AS input_tokens,
        {sign} ifnull({row}cached_input_tokens, 0) AS cached_input_tokens,
        {sign} ifnull({row}output_tokens, 0) AS output_tokens,
        {sign} ifnull({row}reasoning_tokens, 0) AS reasoning_tokens,
        {sign} ifnull({row}cost_picousd, 0) AS cost_picousd,
        {sign} iif({row}attempt > 1, ifnull({row}cost_picousd, 0), 0) AS fallback_cost_picousd,
        {sign} ifnull({row}latency_ms, 0) AS latency_ms"""
OF_ROW = f"{_KEY_OF_ROW}, {_COUNTERS_OF_ROW}".format(row="", sign="+")
ROLLUP_OF_ROW = f"SELECT {OF_ROW} FROM attempts WHERE status <> 'pending'"  # noqa: S608

_NAMES = re.findall(r" AS (\w+)", _COUNTERS_OF_ROW)
COUNTERS = ", ".join(_NAMES)
_ADDED = f"WHERE true ON CONFLICT DO UPDATE SET {', '.join(f'{name} = {name} + excluded.{name}' for name in _NAMES)};"
_ROLL = f"INSERT INTO rollups SELECT {_KEY_OF_ROW}, {_COUNTERS_OF_ROW} {_ADDED}"

_DAY = f"{{row}}quarter / {BUCKETS_PER_DAY} AS day"
# The coarse tables and their keys.
COARSE = {
    "days": f"{_DAY}, {{row}}provider, {{row}}model, {{row}}workspace, {{row}}status",
    "quarters": "{row}quarter, {row}workspace, {row}status",
}


def _coarse(row: str, change: str) -> str:
    """Add a changed rollup to the coarse tables; `change` is the SQL of a counter's change."""
    counters = ", ".join(change.format(name=name) for name in _NAMES)
    return "\n".join(
        f"INSERT INTO {table} SELECT {key.format(row=row)}, {counters} {_ADDED}" for table, key in COARSE.items()
    )


# The placeholders in `tables`.
WORDS = {
    "add_new": _ROLL.format(row="new.", sign="+"),
    "subtract_old": _ROLL.format(row="old.", sign="-"),
    "never_day": str(NEVER_DAY),
    "counters": ",\n    ".join(f"{name} INTEGER NOT NULL" for name in _NAMES),
    "coarse_of_new": _coarse("new.", "new.{name}"),
    "coarse_of_change": _coarse("new.", "new.{name} - old.{name}"),
    "coarse_of_old": _coarse("old.", "- old.{name}"),
}
