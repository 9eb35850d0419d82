"""A case's figure as SVG, drawn once for every version of the tables that it is drawn from."""

from functools import lru_cache
from pathlib import Path
from typing import Any

from analysis.browser.queries.cases import KINDS, kinds
from analysis.browser.queries.store import Store
from analysis.cases.figures import THEMES, draw
from analysis.study import Study

KEPT = 32


def figure(store: Store, case: str, theme: str) -> bytes | None:
    """The figure on no background, in the theme's colours; None where the case has none, or was not run."""
    kind = kinds(store).get(case)
    if kind is None or theme not in THEMES:
        return None
    return _drawn(store.folder, case if case in KINDS else kind.title, theme, store.stamp(*kind.reads))


@lru_cache(maxsize=KEPT)
def _drawn(folder: Path, case: str, theme: str, stamp: Any) -> bytes | None:
    try:
        return draw(Study.open(folder), case, theme)
    except ValueError:  # nothing of this case to draw
        return None
