"""Tables that programs write into Markdown pages, between ``<!-- NAME -->`` and ``<!-- end -->``."""

from __future__ import annotations

import re


def placed(page: str, name: str, text: str) -> str:
    """The page with ``text`` between its markers."""
    between = re.compile(rf"(?<=<!-- {re.escape(name)} -->\n).*?(?=<!-- end -->)", re.DOTALL)
    if not between.search(page):
        raise SystemExit(f"the page has no <!-- {name} --> with an <!-- end --> after it")
    return between.sub(lambda _: text, page, count=1)
