import plotly.graph_objects as go

from transfer_utils.dashboard import style
from transfer_utils.utils.palette import OKABE_ITO


def test_lines_differ_in_colour_first_and_then_in_marker():
    styles = [(style.colour(place), style.symbol(place)) for place in range(style.MAX_LINES)]
    assert len(set(styles)) == style.MAX_LINES == 12
    assert {symbol for _, symbol in styles[:6]} == {None}
    assert OKABE_ITO["black"] not in {colour for colour, _ in styles}


def test_a_figure_without_a_legend_is_lower():
    with_legend, without = go.Figure(), go.Figure()
    style.lay_out(with_legend, 300)
    style.lay_out(without, 300, legend=False)
    assert without.layout.height < with_legend.layout.height == 300
    assert without.layout.showlegend is False
