import pytest

from transfer_utils.utils.palette import INK, MODEL_COLOURS, MODEL_NAMES, NOTE, OKABE_ITO, PAPER, SERIES, SPLIT_DASHES


def contrast(colour: str) -> float:
    """Return the contrast ratio of a colour on paper by WCAG 2."""

    def luminance(code: str) -> float:
        parts = [int(code[place : place + 2], 16) / 255 for place in (1, 3, 5)]
        red, green, blue = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    light, dark = sorted([luminance(colour), luminance(PAPER)], reverse=True)
    return (light + 0.05) / (dark + 0.05)


def test_models_splits_and_lines_can_be_told_apart():
    assert set(MODEL_COLOURS) == set(MODEL_NAMES)
    assert {*MODEL_COLOURS.values(), *SERIES} <= set(OKABE_ITO.values())
    models = [colour for model, colour in MODEL_COLOURS.items() if model != "tutorial"]  # the usual baseline
    for looks in (SERIES, models, tuple(SPLIT_DASHES.values())):
        assert len(set(looks)) == len(looks)


@pytest.mark.parametrize(("colour", "minimum"), [(INK, 7), (NOTE, 7), *((colour, 2) for colour in SERIES)])
def test_text_and_lines_have_enough_contrast(colour, minimum):
    assert contrast(colour) >= minimum
