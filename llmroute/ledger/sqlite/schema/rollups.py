"""SQL that sums attempts by bucket (`rollups`), and rollups by coarser keys."""

from __future__ import annotations

import re

from llmroute.ledger.buckets import BUCKET_MS, BUCKETS_PER_DAY, NEVER_DAY
from llmroute.ledger.sqlite.schema.cache_savings import CACHE_SAVED

# The columns of rollups, and the row that one attempt adds to them.
ROLLUP_KEY = "quarter, provider, model, workspace, task, strategy, status"
_KEY_OF_ROW = f"""
        {{row}}started_ms / {BUCKET_MS} AS quarter, {{row}}provider AS provider, {{row}}model AS model,
        ifnull({{row}}workspace, '') AS workspace, ifnull({{row}}task, '') AS task,
        ifnull({{row}}strategy, '') AS strategy, {{row}}status AS status"""
# The definition of every counter, as it was before migration 16 and is since then.
_FIRST_COUNTERS = """
        {sign} 1 AS call_count, {sign} ({row}cost_picousd IS NULL) AS unknown_cost_count,
        {sign} ifnull({row}input_tokens, 0) AS input_tokens,
        {sign} ifnull({row}cached_input_tokens, 0) AS cached_input_tokens,
        {sign} ifnull({row}output_tokens, 0) AS output_tokens,
        {sign} ifnull({row}reasoning_tokens, 0) AS reasoning_tokens,
        {sign} ifnull({row}cost_picousd, 0) AS cost_picousd,
        {sign} iif({row}attempt > 1, ifnull({row}cost_picousd, 0), 0) AS fallback_cost_picousd,
        {sign} ifnull({row}latency_ms, 0) AS latency_ms"""
_COUNTERS_OF_ROW = f"{_FIRST_COUNTERS},{CACHE_SAVED}"
_FIRST_NAMES = re.findall(r" AS (\w+)", _FIRST_COUNTERS)
_NAMES = [*_FIRST_NAMES, "cache_saved_picousd"]
COUNTERS = ", ".join(_NAMES)
OF_ROW = f"{_KEY_OF_ROW}, {_COUNTERS_OF_ROW}".format(row="", sign="+")
ROLLUP_OF_ROW = f"SELECT {OF_ROW} FROM attempts WHERE status <> 'pending'"  # noqa: S608

_DAY = f"{{row}}quarter / {BUCKETS_PER_DAY} AS day"
_FIRST_COARSE = {
    "days": f"{_DAY}, {{row}}provider, {{row}}model, {{row}}workspace, {{row}}status",
    "quarters": "{row}quarter, {row}workspace, {row}status",
}
# The coarse tables and their keys.  `recovery.record_types` tells the records of tables by their columns: no two tables
# may have the same number of texts before the counters as `days`.
COARSE = {
    **_FIRST_COARSE,
    "task_days": f"{_DAY}, {{row}}workspace, {{row}}task, {{row}}status",
    "strategy_days": f"{_DAY}, {{row}}workspace, {{row}}strategy, {{row}}status",
}


def _added(names: list[str]) -> str:
    return f"WHERE true ON CONFLICT DO UPDATE SET {', '.join(f'{name} = {name} + excluded.{name}' for name in names)};"


def _statements(counters: str, names: list[str], coarse: dict[str, str]) -> dict[str, str]:
    """Return what the triggers do: add or subtract an attempt, and add a changed rollup to the coarse tables."""
    roll = f"INSERT INTO rollups SELECT {_KEY_OF_ROW}, {counters} {_added(names)}"

    def changed(row: str, change: str) -> str:
        changes = ", ".join(change.format(name=name) for name in names)
        return "\n".join(
            f"INSERT INTO {table} SELECT {key.format(row=row)}, {changes} {_added(names)}"
            for table, key in coarse.items()
        )

    return {
        "add_new": roll.format(row="new.", sign="+"),
        "subtract_old": roll.format(row="old.", sign="-"),
        "coarse_of_new": changed("new.", "new.{name}"),
        "coarse_of_change": changed("new.", "new.{name} - old.{name}"),
        "coarse_of_old": changed("old.", "- old.{name}"),
    }


def _columns(names: list[str]) -> str:
    return ",\n    ".join(f"{name} INTEGER NOT NULL" for name in names)


# The placeholders in `tables`; those of migration 16 and later begin with `now_`.
WORDS = {
    **_statements(_FIRST_COUNTERS, _FIRST_NAMES, _FIRST_COARSE),
    "counters": _columns(_FIRST_NAMES),
    "never_day": str(NEVER_DAY),
    **{f"now_{word}": sql for word, sql in _statements(_COUNTERS_OF_ROW, _NAMES, COARSE).items()},
    "now_counters": _columns(_NAMES),
}
