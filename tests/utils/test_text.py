"""Any value becomes bounded, printable text without markup."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transfer_utils.utils.text import (
    JOINERS,
    as_label,
    as_label_lines,
    as_text,
    command_line,
    counted,
    enumerated,
    finite_number,
    format_bytes,
)

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(["{}", "{0}", "%s", "\0"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


@given(JSON)
def test_text_is_printable_and_bounded(value):
    shown = as_text(value, 50)
    assert all(c.isprintable() or c in JOINERS for c in shown)
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
        ("می\u200cخواند\n", "می\u200cخواند\\n"),
        ([1, "a"], '[1, "a"]'),
        ("x" * 201, "x" * 200 + "…"),
    ],
)
def test_values_become_readable_text(value, shown):
    assert as_text(value) == shown


def test_line_ends_are_kept_on_request_and_deep_values_are_named():
    assert as_text("two\nlines\x07", lines=True) == "two\nlines\\x07"
    value = []
    for _ in range(100_000):
        value = [value]
    assert as_text(value) == "(nested too deeply)"


def test_labels_contain_no_markup_and_break_between_parts():
    assert as_label("<b>bold</b> &lt;") == "&lt;b&gt;bold&lt;/b&gt; &amp;lt;"
    assert as_label_lines("one · two") == "one · two"
    assert as_label_lines("a part that is long · another <part>") == "a part that is long<br>another &lt;part&gt;"


@pytest.mark.parametrize("value", ["0.5", None, True, float("nan"), float("inf"), 10**400, [1.0]])
def test_only_finite_numbers_are_accepted(value):
    assert finite_number(value) is None


@pytest.mark.parametrize(("n", "text"), [(0, "0 bytes"), (1500, "1.5 kB"), (2e6, "2.0 MB"), (1.25e12, "1.2 TB")])
def test_sizes_have_a_fitting_unit(n, text):
    assert format_bytes(n) == text


def test_a_number_has_its_noun_in_the_singular_or_plural():
    assert [counted(n, "file") for n in (0, 1, 1200)] == ["0 files", "1 file", "1,200 files"]
    assert counted(2, "class has", "classes have") == "2 classes have"


def test_words_become_a_list_in_a_sentence():
    assert [enumerated(list(words)) for words in ("a", "ab")] == ["a", "a and b"]
    assert enumerated(["a", "b", "c"], "or") == "a, b or c"


def test_a_command_can_be_pasted_into_the_terminal_of_its_system(monkeypatch):
    words = ["transfer-utils", "demo", "my page"]
    assert command_line(words) == "transfer-utils demo 'my page'"
    monkeypatch.setattr("os.name", "nt")
    assert command_line([*words, r"C:\a"]) == r'transfer-utils demo "my page" C:\a'
