import re
import subprocess
import sys

import pytest

from transfer_utils.utils.palette import (
    GRID,
    INK,
    MODEL_COLOURS,
    MODEL_NAMES,
    NOTE,
    OKABE_ITO,
    PAPER,
    SERIES,
    SPLIT_DASHES,
)


def contrast(colour: str, other: str = PAPER) -> float:
    """Return the contrast ratio of two colours by WCAG 2."""

    def luminance(code: str) -> float:
        parts = [int(code[place : place + 2], 16) / 255 for place in (1, 3, 5)]
        red, green, blue = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    light, dark = sorted([luminance(colour), luminance(other)], reverse=True)
    return (light + 0.05) / (dark + 0.05)


def test_lines_and_models_have_colours_of_the_palette():
    assert all(re.fullmatch("#[0-9A-F]{6}", colour) for colour in (*OKABE_ITO.values(), INK, NOTE, GRID, PAPER))
    assert len(set(SERIES)) == len(SERIES)
    assert set(SERIES) | set(MODEL_COLOURS.values()) <= set(OKABE_ITO.values())


def test_models_have_names_and_colours_and_splits_have_different_dashes():
    assert set(MODEL_COLOURS) == set(MODEL_NAMES)
    assert len(set(SPLIT_DASHES.values())) == len(SPLIT_DASHES)


@pytest.mark.parametrize(("colour", "minimum"), [(INK, 7), (NOTE, 7), *((colour, 2) for colour in SERIES)])
def test_text_and_lines_have_enough_contrast(colour, minimum):
    assert contrast(colour) >= minimum


def test_the_palette_loads_no_plotting_library():
    code = "import sys, transfer_utils.utils.palette; sys.exit('matplotlib' in sys.modules or 'plotly' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
