"""Colours and line styles shared by all figures and the dashboard, without importing a plotting library.

The palette is that of Okabe and Ito (2008, "Color Universal Design"), which colour-blind readers can distinguish.
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

# The colours of the lines of a chart, in order: the darkest first, without yellow, which is too pale on white.
SERIES = tuple(
    OKABE_ITO[name] for name in ("blue", "vermillion", "bluish green", "reddish purple", "orange", "sky blue", "black")
)

# Ten colours for ten classes, none of them twice: the "muted" scheme of Paul Tol (2021, SRON/EPS/TN/09-002), and black.
CLASS_COLOURS = (
    *("#332288", "#88CCEE", "#44AA99", "#117733", "#999933", "#DDCC77", "#CC6677", "#882255", "#AA4499"),
    OKABE_ITO["black"],
)

# A model of a run, or one of its opponents where these are told apart.
MODEL_COLOURS = {"transfer": OKABE_ITO["blue"], "baseline": OKABE_ITO["vermillion"]}
MODEL_COLOURS |= {"random": OKABE_ITO["black"], "compact": OKABE_ITO["bluish green"]}
MODEL_COLOURS |= {"tutorial": MODEL_COLOURS["baseline"]}
MODEL_NAMES = {"transfer": "transfer learning", "baseline": "CNN from scratch"}
MODEL_NAMES |= {"random": "same network from random weights", "compact": "compact CNN", "tutorial": "tutorial CNN"}

# Line styles by the names that Plotly uses.
SPLIT_DASHES = {"training": "dash", "validation": "solid"}

INK, NOTE, GRID, PAPER = "#1A1A1A", "#595959", "#DDDDDD", "#FFFFFF"

# Colour maps by the names that Matplotlib and Plotly share: for counts and rates, and for feature maps.
SEQUENTIAL = "Blues"
PERCEPTUAL = "viridis"
