import pytest

from transfer_utils.teach.messages import Step, read_model, write_model


@pytest.mark.fault(33)
def test_a_damaged_answer_counts_as_none(tmp_path):
    path = tmp_path / "step.json"
    assert read_model(path, Step) is None
    write_model(path, Step(title="a", done=1, total=2))
    assert read_model(path, Step) == Step(title="a", done=1, total=2)
    for content in (b"", b"[]", b'{"title": 1}', b'{"title": "a", "done": NaN, "total": 1}', b"\xff"):
        path.write_bytes(content)
        assert read_model(path, Step) is None
