import numpy as np
from matplotlib.figure import Figure

from tests.plotting.figures import IMAGES, LABELS, NAMES, PROBABILITIES, VIEWS, words
from transfer_utils import plotting


def sheet_of(figure: Figure) -> np.ndarray:
    return np.asarray(figure.axes[0].images[0].get_array())


def test_each_class_has_a_row_with_its_first_images():
    sheet = sheet_of(plotting.plot_class_grid(IMAGES, LABELS, [*NAMES, "emu"], per_class=3))
    assert sheet.shape == (3 * 9 - 1, 3 * 9 - 1, 3)
    assert np.array_equal(sheet[:8, 9:17], IMAGES[3])
    assert np.array_equal(sheet[9:17, :8], IMAGES[1])
    assert (sheet[:8, 18:] == 255).all() and (sheet[18:] == 255).all()


def test_only_the_first_twenty_classes_are_drawn_and_the_title_says_so():
    figure = plotting.plot_class_grid(IMAGES, LABELS, [f"c{i}" for i in range(30)])
    assert "the first 20 of 30 classes" in figure.axes[0].get_title("left")


def test_images_are_drawn_with_sharp_pixels_unless_they_are_larger_than_their_tiles():
    for side, interpolation in ((32, "nearest"), (160, "antialiased")):
        figure = plotting.plot_class_grid(np.zeros((2, side, side, 3), np.uint8), np.arange(2), NAMES)
        assert figure.axes[0].images[0].get_interpolation() == interpolation


def test_views_follow_their_original():
    sheet = sheet_of(plotting.plot_augmented(IMAGES, VIEWS.astype(np.float32) + 0.3))
    assert np.array_equal(sheet[9:17, :8], IMAGES[1])
    assert np.array_equal(sheet[9:17, 18:26], VIEWS[1, 1])


def test_the_most_confident_mistake_comes_first():
    figure = plotting.plot_mistakes(IMAGES, LABELS, PROBABILITIES, NAMES)
    titles = [axes.get_title("left") for axes in figure.axes if axes.images]
    assert titles == ["dog, 80 %\ntruth: cat", "cat, 60 %\ntruth: dog"]
    assert np.array_equal(figure.axes[0].images[0].get_array(), IMAGES[3])
    figure = plotting.plot_mistakes(IMAGES, LABELS, PROBABILITIES, NAMES, n=1)
    assert sum(bool(axes.images) for axes in figure.axes) == 1
    assert words(plotting.plot_mistakes(IMAGES, LABELS, np.eye(2)[LABELS], NAMES)) == ["No wrong answer"]
    doubted = words(plotting.plot_mistakes(IMAGES, LABELS, PROBABILITIES, NAMES, label="label", title="Doubtful"))
    assert "Doubtful" in doubted and "dog, 80 %\nlabel: cat" in doubted
    alike = plotting.plot_mistakes(IMAGES[:1], [1], PROBABILITIES[:1], ["Strawberry___healthy", "Strawberry___scorch"])
    assert alike.axes[0].get_title("left") == "Strawb…althy, 70 %\ntruth: Strawb…corch"


def test_blends_show_three_images_per_pair_and_the_largest_parts_of_the_label():
    images = np.zeros((2, 3, 4, 4, 3), "uint8")
    figure = plotting.plot_blends(images, np.array([[0.7, 0.0, 0.3], [0.0, 1.0, 0.0]]), ["cat", "dog", "ship"])
    assert len(figure.axes) == 6
    assert {axes.get_xlabel() for axes in figure.axes} == {"", "70% cat\n30% ship", "100% dog"}
