import pytest
from hypothesis import given
from hypothesis import strategies as st

from transfer_utils.utils.text import as_label, as_label_lines, as_text, finite_number

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


@given(JSON)
def test_text_is_printable_and_bounded(value):
    shown = as_text(value, 50)
    assert shown.isprintable()
    assert len(shown) <= 50 * len("\\U0010ffff") + 1
    shown.encode("utf-8")


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "–"),
        (True, "yes"),
        (30, "30"),
        (1e-5, "1e-05"),
        ("plain <b> words", "plain <b> words"),
        ("two\nlines", "two\\nlines"),
        ("\x1b[31mred", "\\x1b[31mred"),
        ("right\u202eleft", "right\\u202eleft"),
        ("half \ud800", "half \\ud800"),
        ([1, "a"], '[1, "a"]'),
        ("x" * 201, "x" * 200 + "…"),
    ],
)
def test_text(value, shown):
    assert as_text(value) == shown


def test_lines_stay_where_a_block_may_have_them():
    assert as_text("two\nlines\x07", lines=True) == "two\nlines\\x07"


def test_a_value_nested_beyond_the_interpreter_is_told_not_raised():
    value = []
    for _ in range(100_000):
        value = [value]
    assert as_text(value) == "(nested too deeply)"


def test_label_leaves_no_markup():
    assert as_label("<b>bold</b> &lt;") == "&lt;b&gt;bold&lt;/b&gt; &amp;lt;"


def test_label_lines_break_between_the_parts():
    assert as_label_lines("one · two") == "one · two"
    assert as_label_lines("a part that is long · another <part>") == "a part that is long<br>another &lt;part&gt;"


@pytest.mark.parametrize("value", ["0.5", None, True, float("nan"), float("inf"), 10**400, [1.0]])
def test_number_takes_finite_numbers_alone(value):
    assert finite_number(value) is None
