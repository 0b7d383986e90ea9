"""Numbers with the names of their units."""


def many(count: int, unit: str) -> str:
    """Return a number with the name of its unit, in the plural unless it is one."""
    return f"{count:,} {unit}{'' if count == 1 else 's'}"
