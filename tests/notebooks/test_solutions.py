"""The checks of the exercises: an empty one and likely wrong answers fail with a hint, right answers pass."""

import copy
import subprocess
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

from transfer_utils.course.exercises import CHECK, SOLUTION, skeleton
from transfer_utils.course.kernel import kernel_environment

NOTEBOOKS = sorted((Path(__file__).parents[2] / "notebooks" / "solutions").glob("*.ipynb"))

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
    "05_baseline_comparison": [
        [("n_images = 100", "too wide"), ("n_images = 3459.0", "")],
        [
            ("only_one = lambda a, b: (int((~a & b).sum()), int((a & ~b).sum()))", "swapped"),
            ("only_one = lambda a, b: [(a & ~b).sum(), (~a & b).sum()]", ""),
        ],
        [("first_epoch = lambda accuracies, goal: int(np.argmax(accuracies)) + 1", "The first epoch")],
        [("probe_accuracy = lambda level, draw=0: level / 100", "Another draw")],
    ],
    "08_your_own_images": [
        [
            (
                "pictures_needed = lambda accuracy, width: accuracy * (1 - accuracy) * (2 * 1.96 / width) ** 2",
                "whole number",
            ),
            (
                "def pictures_needed(accuracy, width):\n"
                "    return next(n for n in range(1, 9999) if np.diff(interval(accuracy, n)).item() / 2 <= width)",
                "Too few",
            ),
            ("pictures_needed = lambda accuracy, width: 5000", "Too many"),
        ],
        [
            ("hold_out = lambda labels, groups, share, rng: rng.random(len(labels)) < share", "on both sides"),
            ("hold_out = lambda labels, groups, share, rng: groups < 72", "Another generator"),
            (
                "def hold_out(labels, groups, share, rng):\n"
                "    draws = [rng.permutation(sorted(set(groups[labels == label]))) for label in set(labels)]\n"
                "    held_out = {int(g) for draw in draws for g in draw[: int(share * len(draw))]}\n"
                "    return [g in held_out for g in groups.tolist()]",
                "",
            ),
        ],
        [
            ("choose_threshold = lambda confidence, correct, target: target", "A lower threshold"),
            ("choose_threshold = lambda confidence, correct, target: 0.0", "Fewer than 90 %"),
        ],
        [
            (
                "def prepare(folder, rng):\n"
                "    files = rng.permutation([p for p in sorted(folder.glob('*/*')) if thumbnail(p) is not None])\n"
                "    return files[:156], files[156:208], files[208:]",
                "split groups, not pictures",
            )
        ],
        [
            (
                "def learn(train_files, validation_files):\n"
                "    given = keras.Input((SIDE, SIDE, 3))\n"
                "    pooled = keras.layers.GlobalAveragePooling2D()(network(given / 127.5 - 1))\n"
                "    return keras.Model(given, keras.layers.Dense(len(class_names), activation='softmax')(pooled))",
                "on validation",
            )
        ],
    ],
}


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_checks_tell_wrong_answers_from_right_ones(folder, monkeypatch, path):
    """In one kernel, for each exercise: the empty one, the answers above, and the solution."""
    monkeypatch.chdir(folder)
    cells = [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
    answers = iter(ANSWERS.get(path.stem, []))
    cells[0].source += '\npreset = "offline"'
    with kernel_environment():
        client = NotebookClient(nbformat.v4.new_notebook(), kernel_name="python3", timeout=1200)
        with client.setup_kernel(stderr=subprocess.DEVNULL):
            for cell, check in zip(cells, [*cells[1:], None], strict=True):
                if SOLUTION in cell.metadata.get("tags", []):
                    assert CHECK in check.metadata.get("tags", [])
                    execute(client, cell, skeleton(cell.source))
                    assert hint_of(client, check), "the empty exercise passes"
                    for answer, hint in next(answers, []):
                        execute(client, cell, answer)
                        assert hint in (given := hint_of(client, check)) and bool(hint) == bool(given), answer
                execute(client, cell)
    assert next(answers, None) is None, "answers to an exercise that is not there"


def hint_of(client, check):
    """Run a check and return its hint, or an empty text if the answer passes."""
    try:
        execute(client, check)
    except CellExecutionError as error:
        assert error.ename == "NotYet", error
        return error.evalue
    return ""


def execute(client, cell, source=None):
    cell = copy.deepcopy(cell)
    cell.source = source or cell.source
    client.nb.cells.append(cell)
    client.execute_cell(cell, len(client.nb.cells) - 1)
