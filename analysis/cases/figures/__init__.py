"""The figure of each case study, from a study's tables: as SVG in the page's light or dark colours, or as files."""

from analysis.cases.figures.drawing import draw, drawable, inline, save

__all__ = ["draw", "drawable", "inline", "save"]
