"""Write the generated parts of README and docs/, and the manual pages in man/, anew: `python -m tests.docs`."""

from __future__ import annotations

from tests.docs.generate import regenerated
from tests.docs.man_pages import MAN, man_pages
from tests.docs.pages import PAGES

if __name__ == "__main__":
    for page in PAGES:
        page.write_text(regenerated(page.read_text(encoding="utf-8")), encoding="utf-8")
    MAN.mkdir(exist_ok=True)
    pages = man_pages()
    for old in set(MAN.iterdir()) - {MAN / name for name in pages}:
        old.unlink()
    for name, text in pages.items():
        (MAN / name).write_text(text, encoding="utf-8")
