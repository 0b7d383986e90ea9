"""Labels of calls in the ledger: workspaces, executions and models."""

from __future__ import annotations

import re
from typing import Final

MOST_LABEL_CHARACTERS = 256
"""The length of the longest label: labels are in the keys of indexes, which a server bounds."""


# A server stores no NUL; half characters are of bytes that are not UTF-8, in the environment and on the command line.
_NOT_TEXT: Final = re.compile("[\0\ud800-\udfff]")


def label_problem(label: str) -> str | None:
    """Return why a ledger cannot store a label, to follow its name in a message; None if it can."""
    if len(label) > MOST_LABEL_CHARACTERS:
        return f"has {len(label):,} characters; the longest label has {MOST_LABEL_CHARACTERS}"
    return text_problem(label)


def text_problem(text: str) -> str | None:
    """Return why nothing in a ledger can be this text, to follow its name in a message; None if it can."""
    return f"is {text!a}, which is not valid text" if _NOT_TEXT.search(text) else None


def storable_label(label: str) -> str:
    """Return a label with U+FFFD in place of bytes that are not UTF-8; those that are not of the locale may be."""
    if text_problem(label) is None:
        return label
    try:
        return label.encode(errors="surrogateescape").decode(errors="replace")
    except UnicodeEncodeError:
        # Not of bytes.
        return _NOT_TEXT.sub("\ufffd", label)
