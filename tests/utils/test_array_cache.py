"""Cached arrays are built once, verified when they are opened, and built again when they are damaged."""

import json

import numpy as np
import pytest

from transfer_utils.utils.array_cache import open_array

ROWS = np.random.default_rng(0).normal(size=(50, 2, 3)).astype("<f2")


def chunks():
    yield from np.split(ROWS, [7, 7, 30])  # one part is empty


def note(sha256: str) -> dict:
    return {"sha256": sha256, "engine": "keras"}


def test_an_array_is_built_once_and_opened_read_only(tmp_path):
    for build in (chunks, lambda: pytest.fail("the array was built although it exists")):
        array, opened_note = open_array(tmp_path / "new" / "a.npy", build, note)
        np.testing.assert_array_equal(array, ROWS)
        assert array.dtype == ROWS.dtype and isinstance(array, np.memmap) and not array.flags.writeable
        assert opened_note["engine"] == "keras"
    np.testing.assert_array_equal(np.load(tmp_path / "new" / "a.npy"), ROWS)


@pytest.mark.parametrize(
    "content", ["", "[]", "1", "null", '{"sha256": ', "{}", '{"sha256": "0"}', "[" * 100_000], ids=lambda text: text[:9]
)
@pytest.mark.fault(14, 33)
def test_a_damaged_note_is_named_and_the_array_is_built_again(tmp_path, content):
    open_array(tmp_path / "a.npy", chunks, note)
    (tmp_path / "a.json").write_text(content)
    with pytest.warns(UserWarning, match=r"a\.npy or its note is damaged; it is built again"):
        array, _ = open_array(tmp_path / "a.npy", lambda: [ROWS[:10]], note)
    np.testing.assert_array_equal(array, ROWS[:10])


def test_a_missing_note_is_not_reported_as_damage(tmp_path, recwarn):
    open_array(tmp_path / "a.npy", chunks, note)
    (tmp_path / "a.json").unlink()
    open_array(tmp_path / "a.npy", chunks, note)
    assert json.loads((tmp_path / "a.json").read_text())["engine"] == "keras" and not recwarn
