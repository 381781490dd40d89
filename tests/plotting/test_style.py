import errno
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from tests.plotting.figures import (
    DRAW,
    EMPTY,
    GAPS,
    IMAGES,
    LABELS,
    NAMES,
    OLD,
    PROBABILITIES,
    TRANSFER,
    VIEWS,
    drawn_texts,
    png,
)
from transfer_utils import plotting
from transfer_utils.errors import UserError
from transfer_utils.plotting.interpret import plot_filters


@pytest.mark.parametrize("draw", DRAW.values(), ids=DRAW)
def test_a_figure_does_not_depend_on_global_settings(draw):
    with matplotlib.rc_context({"axes.facecolor": "black", "font.size": 20}):
        figure = draw()
    assert all(axes.get_facecolor() == (1, 1, 1, 1) for axes in figure.axes)
    assert all(axes.xaxis.label.get_fontsize() <= 10 for axes in figure.axes)


def test_a_figure_looks_the_same_when_settings_change_before_it_is_saved_and_changes_none():
    before = dict(matplotlib.rcParams)
    expected = png(plotting.plot_curves(TRANSFER))
    assert dict(matplotlib.rcParams) == before
    with matplotlib.rc_context({"axes.titlesize": 30}):
        figure = plotting.plot_curves(TRANSFER)
    with matplotlib.rc_context({"grid.color": "red", "grid.linewidth": 9, "lines.linewidth": 9}):
        assert png(figure) == expected


LONG = ["photographs of automobiles", "oil paintings of automobiles"]
LAYOUTS = DRAW | {
    "a class grid with long names": lambda: plotting.plot_class_grid(IMAGES, LABELS, LONG),
    "mistakes with long names": lambda: plotting.plot_mistakes(IMAGES, 1 - LABELS, np.eye(2)[LABELS], LONG),
    "few metrics": lambda: plotting.plot_accuracy_comparison(OLD, EMPTY),
    "few curves": lambda: plotting.plot_model_comparison(OLD, GAPS),
}


@pytest.mark.parametrize("draw", LAYOUTS.values(), ids=LAYOUTS)
def test_no_text_overlaps_another_or_is_cut_off(draw):
    figure = draw()
    page, boxes = figure.bbox.padded(1), drawn_texts(figure)
    for place, (text, box) in enumerate(boxes):
        assert page.x0 <= box.x0 and box.x1 <= page.x1 and page.y0 <= box.y0 and box.y1 <= page.y1, text
        for other_text, other_box in boxes[place + 1 :]:
            assert not box.padded(-1).overlaps(other_box.padded(-1)), (text, other_text)


def test_untrusted_names_are_drawn_as_one_short_line_of_text():
    hostile = ("$\\frac{1}$ and $", "<script>\n\x00", "a name that goes on and on and on", "")
    figure = plotting.plot_confusion_matrix(np.eye(4), hostile)
    png(figure)
    ticks = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert ticks == ["\\$\\frac{1}\\$ and \\$", "<script>\\n\\x00", "a name tha…on and on", ""]


def grid(images=IMAGES, labels=LABELS):
    return plotting.plot_class_grid(images, labels, NAMES)


ONE_EACH = "matrix must have a row and a column"
REFUSED = [
    (lambda: plotting.plot_label_efficiency({}), "summary must hold"),
    (lambda: plotting.plot_accuracy_by_setting({}, "depth", "title"), "accuracies must hold"),
    (lambda: plotting.plot_size_and_time({96: (0.7, 0.6, 0.8)}, {}), r"same image sizes, .* got \[96\] and \[\]"),
    (lambda: plotting.plot_option_effects({"Mixup": {}}), "effects must hold"),
    (lambda: plotting.plot_fine_tunings({}), "curves must hold at least one curve"),
    (lambda: plotting.plot_class_balance({}), "at least one split"),
    (lambda: plotting.plot_confusion_matrix([[1, 2], [3, 4]], ["cat"]), ONE_EACH),
    (lambda: plotting.plot_confusion_matrix([[1, 2]], NAMES), ONE_EACH),
    (lambda: plotting.plot_confusion_matrix(np.zeros((0, 0)), []), ONE_EACH),
    (lambda: plot_filters(np.zeros((3, 3, 1, 9))), r"kernel must have shape \(h, w, 3, n\), got \(3, 3, 1, 9\)"),
    (lambda: grid(IMAGES / 255), "images must have pixels in 0-255, got values from 0 to 1"),
    (lambda: grid(IMAGES / 127.5 - 1), "images must have pixels in 0-255, got values from -1 to 1"),
    (lambda: grid(IMAGES[..., :1]), r"images must have shape \(n, height, width, 3\).*got \(4, 8, 8, 1\)"),
    (lambda: grid(IMAGES[0]), r"images must have shape .*got \(8, 8, 3\)"),
    (lambda: grid(IMAGES[:0]), r"hold at least one image, got \(0, 8, 8, 3\)"),
    (lambda: grid(labels=LABELS[:1]), "labels must be as many as images, got 1 and 4"),
    (lambda: plotting.plot_mistakes(IMAGES, LABELS, PROBABILITIES[:2], NAMES), "as many as images, got 2 and 4"),
    (lambda: plotting.plot_augmented(IMAGES, VIEWS[:3]), "views must be as many as images, got 3 and 4"),
    (lambda: plotting.plot_blends(VIEWS[:1], np.zeros((2, 2)), NAMES), "labels must be as many as blends, got 2"),
]


@pytest.mark.parametrize(("draw", "message"), REFUSED)
def test_wrong_arguments_are_refused(draw, message):
    with pytest.raises(UserError, match=message):
        draw()


class TestSaveFigure:
    alt = "Curves – accuracy rises, «loss» falls: 損失"

    def test_the_same_figure_gives_the_same_bytes_and_contains_its_description(self, tmp_path):
        for name in ("a.png", "b.png"):
            figure = Figure((2, 1))
            figure.suptitle("title")
            plotting.save_figure(figure, tmp_path / name, self.alt)
        assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
        with Image.open(tmp_path / "a.png") as picture:
            assert picture.text == {"Description": self.alt}
            assert picture.size == (288, 144)

    def test_a_full_disk_leaves_the_previous_file(self, tmp_path, monkeypatch):
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

    def test_a_blank_description_is_refused(self, tmp_path):
        with pytest.raises(UserError, match=r"alt must describe the figure, got ' \\n'"):
            plotting.save_figure(Figure(), tmp_path / "a.png", " \n")
        assert not list(tmp_path.iterdir())
