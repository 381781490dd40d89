"""The colours and line styles that every figure and the dashboard share; no drawing library is imported here.

The palette is that of Okabe and Ito (2008, "Color Universal Design"), told apart by colour-blind readers.
"""

from __future__ import annotations

OKABE_ITO = {
    "black": "#000000",
    "orange": "#E69F00",
    "sky blue": "#56B4E9",
    "bluish green": "#009E73",
    "yellow": "#F0E442",
    "blue": "#0072B2",
    "vermillion": "#D55E00",
    "reddish purple": "#CC79A7",
}

# The order in which the lines of a chart take their colours: the darkest first, yellow left out (too pale on white).
SERIES = tuple(
    OKABE_ITO[name] for name in ("blue", "vermillion", "bluish green", "reddish purple", "orange", "sky blue", "black")
)

MODEL_COLOURS = {"transfer": OKABE_ITO["blue"], "baseline": OKABE_ITO["vermillion"]}
MODEL_NAMES = {"transfer": "transfer learning", "baseline": "CNN from scratch"}

# Names of dashes that Plotly knows as they are, and Matplotlib as its own "dashed" and "solid".
SPLIT_DASHES = {"training": "dash", "validation": "solid"}

INK, NOTE, GRID, PAPER = "#1A1A1A", "#595959", "#DDDDDD", "#FFFFFF"

# Colour maps known by these names to Matplotlib and Plotly: counts and rates, and feature maps.
SEQUENTIAL = "Blues"
PERCEPTUAL = "viridis"
