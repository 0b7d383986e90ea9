"""HTTP to and from providers, on httpx: a blocking and an asynchronous sender over the same requests.

No retries, no redirects: what to do next is decided by the caller.  The only importer of httpx.
"""

from __future__ import annotations

import sys

# Keeps httpx from importing its own command line, which takes longer than httpx itself where click and rich are there.
sys.modules.setdefault("httpx._main", None)  # type: ignore[arg-type]
