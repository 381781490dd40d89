import errno
import io
import math
import subprocess
import sys
from pathlib import Path
from unittest.mock import patch

import matplotlib
import numpy as np
import pytest
from matplotlib.backend_bases import RendererBase
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.transforms import Bbox
from PIL import Image

from transfer_utils import plotting
from transfer_utils.errors import UserError
from transfer_utils.evaluation import calibration
from transfer_utils.records import RunRecord
from transfer_utils.utils.palette import MODEL_COLOURS

STAGE1 = {"loss": [1.1, 0.9, 0.8], "accuracy": [0.6, 0.7, 0.75], "val_loss": [0.9, 0.8, 0.7]}
STAGE2 = {"loss": [0.9, 0.7], "accuracy": [0.7, 0.8], "val_loss": [0.65, 0.6], "val_accuracy": [0.81, 0.83]}
TRANSFER = RunRecord(
    dataset={"description": "CIFAR-10, JPEG copy"},
    curves={"stage1": {**STAGE1, "val_accuracy": [0.7, None, 0.8]}, "stage2": STAGE2},
    metrics={
        "val_end2end": 0.88, "val_low": 0.87, "val_high": 0.89,
        "test_end2end": 0.87, "test_low": 0.86, "test_high": 0.88,
        "test_tta": 0.885, "test_tta_low": 0.875, "test_tta_high": 0.895,
    },
)  # fmt: skip
BASELINE = RunRecord(
    curves={
        "baseline": {"loss": [2.0, 1.5], "accuracy": [0.3, 0.5], "val_loss": [1.9, 1.6], "val_accuracy": [0.4, 0.45]}
    },
    metrics={"val_end2end": 0.7, "val_low": 0.69, "val_high": 0.71, "test_end2end": 0.69},
)
EMPTY = RunRecord()
OLD = RunRecord(curves={"accuracy": [0.6, 0.7], "val_accuracy": [0.65, 0.7]}, metrics={"val_end2end": 0.9228})
GAPS = RunRecord(curves={"stage1": {"loss": [None, None], "val_accuracy": []}, "stage2": {}, "stage3": {"loss": [1.0]}})

PROBABILITIES = np.array([[0.7, 0.3], [0.6, 0.4], [0.1, 0.9], [0.2, 0.8]])
LABELS = np.array([0, 1, 1, 0])
NAMES = ["cat", "dog"]
IMAGES = np.random.default_rng(0).integers(0, 256, (4, 8, 8, 3), np.uint8)
VIEWS = np.stack([IMAGES[:, ::-1], IMAGES[:, :, ::-1]], axis=1)
CALIBRATION = calibration(PROBABILITIES, LABELS)

DRAW = {
    "plot_model_comparison": lambda: plotting.plot_model_comparison(TRANSFER, BASELINE),
    "plot_accuracy_comparison": lambda: plotting.plot_accuracy_comparison(TRANSFER, BASELINE),
    "plot_curves": lambda: plotting.plot_curves(TRANSFER),
    "plot_confusion_matrix": lambda: plotting.plot_confusion_matrix([[5, 1], [2, 6]], NAMES),
    "plot_reliability": lambda: plotting.plot_reliability({"before": CALIBRATION, "after": CALIBRATION}),
    "plot_class_balance": lambda: plotting.plot_class_balance({"training": {"cat": 40, "dog": 3}, "test": {"cat": 9}}),
    "plot_class_grid": lambda: plotting.plot_class_grid(IMAGES, LABELS, NAMES),
    "plot_augmented": lambda: plotting.plot_augmented(IMAGES, VIEWS),
    "plot_mistakes": lambda: plotting.plot_mistakes(IMAGES, LABELS, PROBABILITIES, NAMES),
    "plot_accuracy_by_setting": lambda: plotting.plot_accuracy_by_setting(
        {split: {"none": (0.7, 0.69, 0.71), "10": (0.8, 0.78, 0.82)} for split in ("validation", "test")},
        "layers unfrozen",
        "Accuracy by depth",
    ),
    "plot_size_and_time": lambda: plotting.plot_size_and_time(
        {96: (0.7, 0.69, 0.71), 160: (0.8, 0.78, 0.82)}, {96: 1.1, 160: 3.0}
    ),
    "plot_option_effects": lambda: plotting.plot_option_effects(
        {"layers unfrozen": {"none": [BASELINE], "30": [TRANSFER, TRANSFER]}, "Mixup": {"off": [TRANSFER, EMPTY]}}
    ),
}


def png(figure: Figure) -> bytes:
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=40, metadata={"Software": None})
    return file.getvalue()


def drawn(figure: Figure) -> list[tuple[str, Bbox]]:
    """Draw a figure and return every text that was drawn, tick labels among them, with its box in pixels."""
    texts, draw = [], Text.draw

    def note(text: Text, renderer: RendererBase) -> None:
        draw(text, renderer)
        if text.get_text() and text.get_visible():
            texts.append((text.get_text(), text.get_window_extent(renderer)))

    with patch.object(Text, "draw", note):
        figure.draw_without_rendering()
    return texts


def words(figure: Figure) -> list[str]:
    return [text for text, _ in drawn(figure)]


@pytest.mark.parametrize("draw", DRAW.values(), ids=DRAW)
def test_a_figure_looks_the_same_whatever_the_settings_outside(draw):
    expected = png(draw())
    with matplotlib.rc_context({"axes.facecolor": "black", "font.size": 20, "axes.titlesize": 30}):
        figure = draw()
    with matplotlib.rc_context({"grid.color": "red", "grid.linewidth": 9, "lines.linewidth": 9}):
        assert png(figure) == expected


def test_nothing_is_left_behind_in_the_settings_or_in_pyplot():
    before = dict(matplotlib.rcParams)
    plotting.plot_curves(TRANSFER)
    assert dict(matplotlib.rcParams) == before
    code = (
        "import sys, transfer_utils.plotting; sys.exit(any(m in sys.modules for m in ('matplotlib.pyplot', 'keras')))"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


LONG = ["photographs of automobiles", "oil paintings of automobiles"]
TIGHT = DRAW | {
    "a class grid of long names": lambda: plotting.plot_class_grid(IMAGES, LABELS, LONG),
    "mistakes of long names": lambda: plotting.plot_mistakes(IMAGES, 1 - LABELS, np.eye(2)[LABELS], LONG),
    "hardly any metric": lambda: plotting.plot_accuracy_comparison(OLD, EMPTY),
    "hardly any curve": lambda: plotting.plot_model_comparison(OLD, GAPS),
}


@pytest.mark.parametrize("draw", TIGHT.values(), ids=TIGHT)
def test_no_words_overlap_or_are_cut_off(draw):
    figure = draw()
    page, boxes = figure.bbox.padded(1), drawn(figure)
    for place, (text, box) in enumerate(boxes):
        assert page.x0 <= box.x0 and box.x1 <= page.x1 and page.y0 <= box.y0 and box.y1 <= page.y1, text
        for other, its_box in boxes[place + 1 :]:
            assert not box.padded(-1).overlaps(its_box.padded(-1)), (text, other)


class TestCurves:
    def lines(self, figure: Figure, panel: int) -> dict[tuple[str, str], np.ndarray]:
        """Return the heights of a panel's curves by colour and dash."""
        lines = [line for line in figure.axes[panel].lines if line.get_marker() != "None"]
        return {(line.get_color(), line.get_linestyle()): np.array(line.get_ydata(), float) for line in lines}

    def test_both_models_and_both_splits_are_drawn_with_the_stages_joined(self):
        found = self.lines(plotting.plot_model_comparison(TRANSFER, BASELINE), 0)
        blue, red = MODEL_COLOURS["transfer"], MODEL_COLOURS["baseline"]
        assert set(found) == {(blue, "--"), (blue, "-"), (red, "--"), (red, "-")}
        assert found[blue, "--"].tolist() == [0.6, 0.7, 0.75, 0.7, 0.8]
        assert found[red, "-"].tolist() == [0.4, 0.45]
        assert np.array_equal(found[blue, "-"], [0.7, math.nan, 0.8, 0.81, 0.83], equal_nan=True)

    def test_the_boundary_stands_between_the_last_epoch_of_one_stage_and_the_first_of_the_next(self):
        for panel in plotting.plot_curves(TRANSFER).axes:
            assert [line.get_xdata()[0] for line in panel.lines if line.get_linestyle() == ":"] == [3.5]
        assert not any(line.get_linestyle() == ":" for line in plotting.plot_curves(BASELINE).axes[0].lines)
        empty_between = plotting.plot_curves(GAPS).axes[0]
        assert [line.get_xdata()[0] for line in empty_between.lines if line.get_linestyle() == ":"] == [2.5]

    def test_a_stage_whose_lists_are_of_different_lengths_keeps_its_epochs_in_place(self):
        cut = RunRecord(curves={"stage1": {"accuracy": [0.5, 0.6], "loss": [1.0]}, "stage2": {"loss": [0.5]}})
        (found, _) = self.lines(plotting.plot_curves(cut), 1).values()
        assert np.array_equal(found, [1.0, math.nan, 0.5], equal_nan=True)

    @pytest.mark.parametrize(
        ("record", "times"), [(EMPTY, 2), (OLD, 1), (GAPS, 2)], ids=["nothing", "an old log", "only gaps but one"]
    )
    def test_what_a_record_lacks_is_said(self, record, times):
        assert sum(text.count("not recorded") for text in words(plotting.plot_curves(record))) == times
        assert "not recorded" in " ".join(words(plotting.plot_model_comparison(TRANSFER, record)))

    def test_the_data_stand_in_the_title(self):
        assert "CIFAR-10, JPEG copy" in plotting.plot_curves(TRANSFER).get_suptitle()

    def test_a_baseline_is_called_by_its_name(self):
        assert plotting.plot_curves(BASELINE).get_suptitle().startswith("CNN from scratch")
        assert plotting.plot_curves(TRANSFER).get_suptitle().startswith("Transfer learning")


class TestAccuracyComparison:
    def test_the_numbers_and_their_intervals_are_written(self):
        found = words(plotting.plot_accuracy_comparison(TRANSFER, BASELINE))
        assert {"88.0 %", "87.0 to 89.0", "70.0 %", "69.0 to 71.0", "88.5 %", "87.5 to 89.5"} <= set(found)
        assert "interval\nnot recorded" in found  # the baseline's test accuracy has no ends
        assert "not recorded" in found  # the baseline has no averaged views

    def test_averaged_views_have_no_place_where_nobody_has_them(self):
        assert "TTA" not in " ".join(words(plotting.plot_accuracy_comparison(BASELINE, OLD)))

    def test_empty_records_leave_four_gaps(self):
        assert words(plotting.plot_accuracy_comparison(EMPTY, EMPTY)).count("not recorded") == 4


class TestConfusionMatrix:
    def test_cells_hold_the_percentage_of_their_row_or_the_count(self):
        assert {"83.3", "16.7", "25.0", "75.0"} <= set(words(DRAW["plot_confusion_matrix"]()))
        assert {"5", "1", "2", "6"} <= set(
            words(plotting.plot_confusion_matrix([[5, 1], [2, 6]], NAMES, normalise=False))
        )

    def test_a_class_without_images_leaves_its_row_empty(self):
        found = words(plotting.plot_confusion_matrix([[3, 0], [0, 0]], NAMES))
        assert "100.0" in found and "nan" not in found

    def test_many_classes_are_drawn_without_numbers(self):
        figure = plotting.plot_confusion_matrix(np.full((21, 21), 7), [f"c{i}" for i in range(21)], normalise=False)
        assert "7" not in words(figure)

    @pytest.mark.parametrize(
        ("matrix", "names"), [([[1, 2], [3, 4]], ["cat"]), ([[1, 2]], NAMES), (np.zeros((0, 0)), [])]
    )
    def test_a_matrix_that_does_not_fit_its_names_is_refused(self, matrix, names):
        with pytest.raises(UserError, match="matrix must have a row and a column"):
            plotting.plot_confusion_matrix(matrix, names)


class TestReliability:
    def test_the_error_stands_in_the_legend_and_a_missing_one_is_said(self):
        found = words(plotting.plot_reliability({"here": CALIBRATION, "there": {}}))
        assert f"here: ECE {100 * CALIBRATION['ece']:.1f} %" in found
        assert "there: not recorded" in found

    def test_only_bins_with_images_have_a_point(self):
        line = plotting.plot_reliability({"here": CALIBRATION}).axes[0].containers[0].lines[0]
        assert len(line.get_xdata()) == sum(count > 0 for count in CALIBRATION["count"])


class TestClassBalance:
    def test_a_class_that_a_split_lacks_counts_as_zero(self):
        figure = DRAW["plot_class_balance"]()
        widths = [[bar.get_width() for bar in axes.patches] for axes in figure.axes]
        assert widths == [[40, 3], [9, 0]]

    def test_no_split_is_refused(self):
        with pytest.raises(UserError, match="at least one split"):
            plotting.plot_class_balance({})


class TestGalleries:
    def sheet(self, figure: Figure) -> np.ndarray:
        return np.asarray(figure.axes[0].images[0].get_array())

    def test_each_class_has_a_row_with_its_images_first_come_first_shown(self):
        sheet = self.sheet(plotting.plot_class_grid(IMAGES, LABELS, [*NAMES, "emu"], per_class=3))
        assert sheet.shape == (3 * 9 - 1, 3 * 9 - 1, 3)
        assert np.array_equal(sheet[:8, 9:17], IMAGES[3])
        assert np.array_equal(sheet[9:17, :8], IMAGES[1])
        assert (sheet[:8, 18:] == 255).all() and (sheet[18:] == 255).all()

    def test_of_many_classes_the_first_twenty_are_drawn_and_that_is_said(self):
        figure = plotting.plot_class_grid(IMAGES, LABELS, [f"c{i}" for i in range(30)])
        assert "the first 20 of 30 classes" in figure.axes[0].get_title("left")

    def test_views_stand_behind_their_original(self):
        sheet = self.sheet(plotting.plot_augmented(IMAGES, VIEWS.astype(np.float32) + 0.3))
        assert np.array_equal(sheet[9:17, :8], IMAGES[1])
        assert np.array_equal(sheet[9:17, 18:26], VIEWS[1, 1])

    def test_the_surest_mistake_comes_first_and_right_answers_do_not_come(self):
        figure = plotting.plot_mistakes(IMAGES, LABELS, PROBABILITIES, NAMES)
        assert [axes.get_title("left") for axes in figure.axes if axes.images] == [
            "dog, 80 %\ntruth: cat",
            "cat, 60 %\ntruth: dog",
        ]
        assert np.array_equal(figure.axes[0].images[0].get_array(), IMAGES[3])
        assert (
            sum(bool(axes.images) for axes in plotting.plot_mistakes(IMAGES, LABELS, PROBABILITIES, NAMES, n=1).axes)
            == 1
        )

    def test_a_model_without_mistakes_has_none_to_show(self):
        assert words(plotting.plot_mistakes(IMAGES, LABELS, np.eye(2)[LABELS], NAMES)) == ["No wrong answer"]

    @pytest.mark.parametrize(
        ("images", "message"),
        [
            (IMAGES / 255, "images must have pixels in 0-255, got values from 0 to 1"),
            (IMAGES / 127.5 - 1, "images must have pixels in 0-255, got values from -1 to 1"),
            (IMAGES[..., :1], r"images must have shape \(n, height, width, 3\).*got \(4, 8, 8, 1\)"),
            (IMAGES[0], r"images must have shape .*got \(8, 8, 3\)"),
            (IMAGES[:0], r"hold at least one image, got \(0, 8, 8, 3\)"),
        ],
    )
    def test_images_of_another_range_or_shape_are_refused(self, images, message):
        with pytest.raises(UserError, match=message):
            plotting.plot_class_grid(images, LABELS, NAMES)

    def test_counts_that_differ_are_refused(self):
        with pytest.raises(UserError, match="labels must be as many as images, got 1 and 4"):
            plotting.plot_class_grid(IMAGES, LABELS[:1], NAMES)
        with pytest.raises(UserError, match="labels must be as many as images, got 1 and 4"):
            plotting.plot_mistakes(IMAGES, LABELS[:1], PROBABILITIES, NAMES)
        with pytest.raises(UserError, match="probabilities must be as many as images, got 2 and 4"):
            plotting.plot_mistakes(IMAGES, LABELS, PROBABILITIES[:2], NAMES)
        with pytest.raises(UserError, match="views must be as many as images, got 3 and 4"):
            plotting.plot_augmented(IMAGES, VIEWS[:3])


class TestNames:
    hostile = ("$\\frac{1}$ and $", "<script>\n\x00", "a name that goes on and on and on", "")

    def test_names_from_outside_are_drawn_as_text_of_one_short_line(self):
        figure = plotting.plot_confusion_matrix(np.eye(4), self.hostile)
        png(figure)
        ticks = [label.get_text() for label in figure.axes[0].get_yticklabels()]
        assert ticks == ["\\$\\frac{1}\\$ and \\$", "<script>??", "a name that goes on…", ""]

    def test_a_dollar_is_a_dollar(self):
        before = png(plotting.plot_class_grid(IMAGES, LABELS, ["a$b$c", "d"]))
        with matplotlib.rc_context({"text.parse_math": False}):
            assert png(plotting.plot_class_grid(IMAGES, LABELS, ["a$b$c", "d"])) == before
        assert before != png(plotting.plot_class_grid(IMAGES, LABELS, ["abc", "d"]))


class TestSaveFigure:
    alt = "Curves – accuracy rises, «loss» falls: 損失"

    def test_the_same_figure_gives_the_same_bytes_and_carries_its_description(self, tmp_path):
        for name in ("a.png", "b.png"):
            plotting.save_figure(plotting.plot_curves(TRANSFER), tmp_path / name, self.alt)
        assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
        with Image.open(tmp_path / "a.png") as picture:
            assert picture.text == {"Description": self.alt}
            assert picture.size == (1296, 619)

    def test_a_figure_that_cannot_be_written_leaves_the_previous_file(self, tmp_path, monkeypatch):
        path = tmp_path / "a.png"
        path.write_bytes(b"before")
        figure = Figure()

        def fill_the_disk(file: Path, **_) -> None:
            file.write_bytes(b"half")
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(figure, "savefig", fill_the_disk)
        with pytest.raises(OSError, match="No space left"):
            plotting.save_figure(figure, path, "never seen")
        assert path.read_bytes() == b"before"
        assert list(tmp_path.iterdir()) == [path]

    def test_a_picture_without_words_for_it_is_refused(self, tmp_path):
        with pytest.raises(UserError, match="alt must say what the picture shows"):
            plotting.save_figure(Figure(), tmp_path / "a.png", " \n")
        assert not list(tmp_path.iterdir())
