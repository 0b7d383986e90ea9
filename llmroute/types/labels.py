"""Labels of calls in the ledger: workspaces and executions."""

MOST_LABEL_CHARACTERS = 256
"""The length of the longest label: labels are in the keys of indexes, which a server bounds."""


def label_problem(label: str) -> str | None:
    """Return why a ledger cannot store a label, to follow its name in a message; None if it can."""
    if len(label) > MOST_LABEL_CHARACTERS:
        return f"has {len(label):,} characters; the longest label has {MOST_LABEL_CHARACTERS}"
    try:
        label.encode()
    except UnicodeEncodeError:
        return f"is {label!a}, which is not valid text"
    return None
