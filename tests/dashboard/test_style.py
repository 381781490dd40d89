import plotly.graph_objects as go

from transfer_utils.dashboard import style
from transfer_utils.utils.palette import OKABE_ITO


def test_lines_differ_in_colour_first_and_then_in_marker():
    styles = [(style.colour(place), style.symbol(place)) for place in range(style.MAX_LINES)]
    assert len(set(styles)) == style.MAX_LINES == 12
    assert {symbol for _, symbol in styles[:6]} == {None}
    assert OKABE_ITO["black"] not in {colour for colour, _ in styles}


def test_rows_are_high_enough_for_names_of_several_lines():
    short, long = go.Figure(), go.Figure()
    for figure, name in ((short, "one line"), (long, "one<br>two<br>three")):
        style.lay_out(figure, 200)
        style.name_rows(figure, [name] * 4)
    assert short.layout.height == 200 and long.layout.height >= 4 * 3 * 15 + 60
