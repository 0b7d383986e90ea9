"""Write the generated parts of README and docs/ anew: `python -m tests.docs`."""

from __future__ import annotations

from tests.docs.generate import regenerated
from tests.docs.pages import PAGES

if __name__ == "__main__":
    for page in PAGES:
        page.write_text(regenerated(page.read_text(encoding="utf-8")), encoding="utf-8")
