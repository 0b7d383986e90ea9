"""A server of the standard library, beside the test."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from socketserver import BaseServer

# How often the server looks whether it is to stop: each test waits for it at its end.
POLL_S = 0.02


def serve_in_background(server: BaseServer) -> None:
    threading.Thread(target=server.serve_forever, args=(POLL_S,), daemon=True).start()
