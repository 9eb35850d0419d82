"""The figure of each case study, from a study's tables: as SVG in the page's light or dark colours, or as files."""

from analysis.cases.figures.canvas import THEMES
from analysis.cases.figures.drawing import about, draw, drawable, inline, save

__all__ = ["THEMES", "about", "draw", "drawable", "inline", "save"]
