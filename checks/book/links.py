#!/usr/bin/env python3
"""Checks that what the pages of the built book refer to is there.

Usage: links.py DIR

Files of other pages, of styles, scripts, fonts and pictures, and the places in pages
that links lead to. Other sites are not asked.
"""

import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

# Pages of the server that serves the book.
OF_SERVER = {"/", "/builds"}


class Page(HTMLParser):
    """What a page refers to, and the names of its places."""

    def __init__(self, path: Path):
        super().__init__()
        self.references: list[str] = []
        self.places: set[str] = set()
        self.base = None
        self.feed(path.read_text())

    def handle_starttag(self, tag, attributes):
        for name, value in attributes:
            if name in ("href", "src") and value:
                if tag == "base":
                    self.base = value
                else:
                    self.references.append(value)
            elif name == "id" or (name == "name" and tag == "a"):
                self.places.add(value)


def problem(root: Path, path: Path, page: Page, reference: str, pages: dict[Path, Page]) -> str | None:
    """Why a reference leads nowhere; None if it does lead somewhere."""
    url = urlsplit(reference)
    if url.scheme or url.netloc or reference in OF_SERVER:
        return None
    folder = root if page.base or url.path.startswith("/") else path.parent
    target = (folder / unquote(url.path).lstrip("/")).resolve() if url.path else path
    if target.is_dir():
        target /= "index.html"
    if not target.is_relative_to(root):
        return "it leads out of the book"
    if not target.is_file():
        return "there is no such file"
    if url.fragment and target in pages and unquote(url.fragment) not in pages[target].places:
        return "there is no such place in it"
    return None


def main(arguments: list[str]) -> int:
    if len(arguments) != 1:
        print(__doc__, file=sys.stderr)
        return 64
    root = Path(arguments[0]).resolve()
    pages = {path: Page(path) for path in sorted(root.rglob("*.html"))}
    seen, wrong = 0, []
    for path, page in pages.items():
        for reference in page.references:
            seen += 1
            if why := problem(root, path, page, reference, pages):
                wrong.append(f"{path.relative_to(root)}: {reference}: {why}")
    print("\n".join(wrong))
    print(f"{seen} references in {len(pages)} pages, {len(wrong)} of them wrong")
    # A book without pages or links is none.
    return 0 if not wrong and len(pages) > 10 and seen > 100 else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
