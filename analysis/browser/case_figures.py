"""A case's figure as SVG, drawn once for every version of the tables that it is drawn from."""

import importlib
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from analysis.browser.queries.cases import KINDS, kinds
from analysis.browser.queries.store import Store
from analysis.study import Study

MODULE = "analysis.cases.figures"
THEMES = ("light", "dark")
KEPT = 32


def figure(store: Store, case: str, theme: str) -> bytes | None:
    """The figure on no background, in the theme's colours; None where the case has none, or was not run."""
    kind = kinds(store).get(case)
    if kind is None or theme not in THEMES or not available():
        return None
    return _drawn(store.folder, case if case in KINDS else kind.title, theme, store.stamp(*kind.reads))


def available() -> bool:
    """Whether this installation draws figures of cases."""
    return find_spec(MODULE) is not None


@lru_cache(maxsize=KEPT)
def _drawn(folder: Path, case: str, theme: str, stamp: Any) -> bytes | None:
    try:
        return importlib.import_module(MODULE).draw(Study.open(folder), case, theme)
    except ValueError:  # nothing of this case to draw
        return None
