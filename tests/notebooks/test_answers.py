"""Likely wrong answers to the exercises fail the checks with a helpful hint; right answers in other forms pass."""

import subprocess
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

from tests.notebooks.test_run import execute
from transfer_utils.course.exercises import CHECK, SOLUTION
from transfer_utils.course.kernel import kernel_environment

SOLUTIONS = Path(__file__).parents[2] / "notebooks" / "solutions"

pytestmark = [pytest.mark.slow, pytest.mark.course, pytest.mark.timeout(1800)]

# For each exercise of a notebook, answers with a part of the expected hint; an empty hint marks a right answer.
ANSWERS = {
    "01_data_preparation": [
        [
            (
                "bytes_of = lambda n, side, dtype: n * side**2 * np.dtype(dtype).itemsize",
                "three colours",
            ),
            ("bytes_of = lambda n, side, dtype: n * side**2 * 3", "takes more bytes"),
        ],
        [
            ("to_network_range = lambda pixels: pixels / 255", "negative"),
            ("to_network_range = lambda pixels: pixels.astype('float32') - 127.5", "too large"),
            ("to_network_range = lambda pixels: (np.asarray(pixels, 'float32') - 127.5) / 127.5", ""),
        ],
        [
            ("split_by_class = lambda *_: (np.arange(160), np.arange(160, 200))", "class is missing"),
            ("split_by_class = lambda *_: ([], [n for n in range(200) if n % 5 == 0])", "exactly one part"),
            (
                "def split_by_class(labels, share, seed):\n"
                "    draw = np.random.default_rng(seed).permutation\n"
                "    held = [int(n) for k in range(4) for n in draw(np.flatnonzero(labels == k))[:10]]\n"
                "    return [n for n in range(200) if n not in held], held",
                "",
            ),
        ],
        [
            ("augment = keras.Sequential([keras.layers.RandomFlip('horizontal')])", "mirrored"),
            ("augment = keras.Sequential([keras.layers.RandomTranslation(0.3, 0.3, 'reflect')])", "more than a tenth"),
            ("augment = keras.Sequential([keras.layers.RandomTranslation(0, 0.1, 'reflect')])", "up and down"),
        ],
    ],
    "02_architecture": [
        [("depthwise_cost = lambda h, w, c, k: h * w * c * c * k * k", "sees one channel")],
        [("parameters_grow_by, multiply_adds_grow_by = 4, 4", "Does a kernel depend")],
        [("grown = lambda field, stride, k, s: (field + (k - 1) * s, stride * s)", "as far as its kernel")],
        [
            ("base.trainable, n_weights, tuned = True, 0, head_only", "other than gamma and beta"),
            ("base.trainable, n_weights, tuned = False, 0, head_only", "Nothing of the base is trainable"),
        ],
    ],
    "03_feature_maps": [
        [("side_block_13, side_out = 16, 32", "distance of two positions"), ("side_block_13, side_out = 6.0, 3", "")],
        [
            ("sparsity = lambda maps: (maps == 0).mean()", "One number for each channel"),
            ("sparsity = lambda maps: [float((maps[..., c] == 0).mean()) for c in range(maps.shape[-1])]", ""),
        ],
        [("short = keras.Sequential([keras.Input((32, 32, 3)), prepare, base])", "one probability per class")],
        [
            (
                "joined_train, joined_validation = np.concatenate([late_train, late_train]), late_validation",
                "side by side",
            )
        ],
    ],
}


@pytest.mark.parametrize("name", ANSWERS)
def test_checks_tell_wrong_answers_from_right_ones(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    notebook = nbformat.read(SOLUTIONS / f"{name}.ipynb", as_version=4)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    answers = iter(ANSWERS[name])
    with kernel_environment():
        client = NotebookClient(nbformat.v4.new_notebook(), kernel_name="python3", timeout=1200)
        with client.setup_kernel(stderr=subprocess.DEVNULL):
            for cell, check in zip(cells, [*cells[1:], None], strict=True):
                tags = cell.metadata.get("tags", [])
                if SOLUTION in tags:
                    for answer, hint in next(answers):
                        execute(client, cell, answer)
                        assert hint in (message := checked(client, check)) and bool(hint) == bool(message), answer
                elif CHECK not in tags:
                    execute(client, cell)
    assert next(answers, None) is None


def checked(client, check):
    """Run the check and return its hint, or an empty text if the answer passes."""
    try:
        execute(client, check)
    except CellExecutionError as error:
        assert error.ename == "NotYet", error
        return error.evalue
    return ""
