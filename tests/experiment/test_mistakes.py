"""Misclassified test files are named at the end of a run, and all of them are listed beside its record."""

import csv
from types import SimpleNamespace

import numpy as np
import pytest

from transfer_utils.experiment.mistakes import name_mistakes
from transfer_utils.records.predictions import Predictions
from transfer_utils.records.record import RunRecord


@pytest.mark.parametrize("wrong", [0, 1, 10, 14])
def test_at_most_ten_mistakes_are_named_the_surest_first_and_the_file_has_all(tmp_path, wrong):
    n, lines = 20, []
    sure = np.linspace(0.6, 0.9, n)
    predicted = (np.arange(n) < wrong).astype(int)  # all are of class 0
    probabilities = np.where(np.eye(2)[predicted] == 1, sure[:, None], 1 - sure[:, None])
    test = Predictions(probabilities, np.zeros(n, int), np.arange(n), predicted, [f"cat/\x1b{i}.png" for i in range(n)])
    session = SimpleNamespace(
        record=RunRecord(dataset={"class_names": ["cat", "dog"]}), folder=tmp_path, log=lines.append
    )
    name_mistakes(test, session)
    with open(tmp_path / session.record.files["mistakes"], newline="", encoding="utf-8-sig") as file:
        rows = list(csv.DictReader(file))
    assert [row["file"] for row in rows] == [rf"cat/\x1b{i}.png" for i in range(wrong - 1, -1, -1)]
    named = [line for line in lines if line.startswith("  cat/")]
    assert len(named) == min(wrong, 10)
    if wrong:
        assert lines[0].startswith(f"{wrong} of 20 test images {'is' if wrong == 1 else 'are'} misclassified")
        first = wrong - 1
        assert named[0] == rf"  cat/\x1b{first}.png: cat, predicted dog ({100 * sure[first]:.0f} %)"
        assert rows[0]["class"] == "cat" and rows[0]["predicted"] == "dog"
    assert any(line.endswith("mistakes.csv.") for line in lines) == (wrong > 10)


def test_a_spreadsheet_reads_the_letters_of_the_file_and_evaluates_nothing(tmp_path):
    test = Predictions(np.eye(2), np.array([1, 0]), np.arange(2), np.array([0, 1]), ["=1+1/a.png", "Zoë/b.png"])
    session = SimpleNamespace(record=RunRecord(dataset={"class_names": ["=1+1", "Zoë"]}), folder=tmp_path, log=print)
    name_mistakes(test, session)
    content = (tmp_path / session.record.files["mistakes"]).read_bytes()
    assert content.startswith("\ufefffile,".encode())
    assert set(content.decode("utf-8-sig").splitlines()[1:]) == {
        "'=1+1/a.png,Zoë,'=1+1,1.000",
        "Zoë/b.png,'=1+1,Zoë,1.000",
    }


def test_images_without_files_are_not_named(tmp_path):
    test = Predictions(np.eye(2), np.array([1, 0]), np.arange(2), np.array([0, 1]))
    name_mistakes(test, SimpleNamespace(folder=tmp_path, log=pytest.fail))
    assert list(tmp_path.iterdir()) == []
