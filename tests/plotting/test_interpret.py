import numpy as np
from matplotlib.figure import Figure

from tests.plotting.figures import words
from tests.tiny import rng
from transfer_utils.interpret.activations import Probe
from transfer_utils.interpret.architecture import BlockCost, Reach
from transfer_utils.plotting import interpret


def pictures(*shape) -> np.ndarray:
    return rng().integers(0, 256, (*shape, 8, 8, 3), dtype=np.uint8)


def images_in(figure: Figure) -> list[np.ndarray]:
    return [np.asarray(image.get_array()) for axes in figure.axes for image in axes.images]


def test_each_filter_is_scaled_around_mid_grey():
    kernel = np.zeros((3, 3, 3, 9))
    kernel[0, 0, 0, 0], kernel[1, 1, 1, 1] = 0.2, -40
    first, second, *rest = images_in(interpret.plot_filters(kernel))
    assert len(rest) == 7
    assert (first[0, 0, 0], first[2, 2, 2]) == (1, 0.5)
    assert (second[1, 1, 1], second[0, 0, 0]) == (0, 0.5)


def test_feature_maps_are_in_rows_named_by_layer_and_size():
    maps = {"early": rng().normal(size=(8, 8, 3)), "late": rng().normal(size=(2, 2, 3))}
    figure = interpret.plot_feature_maps(maps, pictures(1)[0])
    assert {"early\n8 × 8", "late\n2 × 2"} <= set(words(figure))
    images = images_in(figure)
    assert [image.shape[:2] for image in images] == [(8, 8)] * 4 + [(2, 2)] * 3  # the image itself is drawn once
    np.testing.assert_array_equal(images[2], maps["early"][..., 1])
    assert len(images_in(interpret.plot_feature_maps(maps))) == 6


def test_rows_of_images_show_every_image_in_its_place():
    images = pictures(2, 3)
    figure = interpret.plot_image_rows(images, ["first", "second"], "Rows", ["a", "b", "c"])
    (sheet,) = images_in(figure)
    np.testing.assert_array_equal(sheet[9:17, 18:26], images[1, 2])
    assert (sheet[8] == 255).all()  # the white line between two rows
    assert {"first", "second", "Rows", "a", "b", "c"} <= set(words(figure))


def test_probes_are_lines_with_bands_compared_with_chance():
    probes = [Probe("block_1", 16, 0.3, 0.25, 0.36), Probe("block_2", 24, 0.6, 0.5, 0.7)]
    figure = interpret.plot_probes({"pretrained": probes, "random": probes[::-1]}, 0.1)
    lines = figure.axes[0].lines
    assert [list(line.get_ydata()) for line in lines] == [[0.3, 0.6], [0.6, 0.3], [0.1, 0.1]]
    assert len({line.get_linestyle() for line in lines}) == 3
    band = figure.axes[0].collections[0].get_paths()[0].vertices
    assert (band[:, 1].min(), band[:, 1].max()) == (0.25, 0.7)
    assert {"block_1 (16)", "pretrained", "random", "guessing"} <= set(words(figure))


def test_ten_classes_of_an_embedding_have_different_markers_and_colours():
    labels = np.arange(40) % 10
    points = {"before": rng().normal(size=(40, 2)), "after": rng().normal(size=(40, 2))}
    figure = interpret.plot_embedding(points, labels, [f"class {i}" for i in range(10)])
    left = figure.axes[0].collections
    np.testing.assert_array_equal(left[3].get_offsets(), points["before"][labels == 3])
    assert len({mark.get_paths()[0].vertices.tobytes() for mark in left}) == 10
    assert len({mark.get_facecolor().tobytes() for mark in left}) == 10
    assert "class 9" in words(figure)
    more = interpret.plot_embedding(points, labels, [f"class {i}" for i in range(12)])
    assert "The first 10 of 12 classes" in words(more) and "The first" not in " ".join(words(figure))


def test_costs_are_bars_in_the_order_of_the_blocks():
    costs = [BlockCost("stem", 3, 500, 2_000_000, (4, 4, 8)), BlockCost("top", 3, 7000, 1_000_000, (2, 2, 16))]
    figure = interpret.plot_costs(costs)
    assert [[bar.get_width() for bar in axes.patches] for axes in figure.axes] == [[0.5, 7], [2, 1]]
    assert figure.axes[0].yaxis_inverted()
    titles = {"7.5 thousand parameters", "3.0 million multiply-adds"}
    assert {"stem  4 × 4 × 8"} | titles <= set(words(figure))


def test_receptive_field_is_compared_with_the_sides():
    layers = [Reach("conv_1", 2, 3, 16), Reach("conv_2", 4, 11, 8)]
    figure = interpret.plot_receptive_field(layers, [32, 160])
    assert [list(line.get_ydata()) for line in figure.axes[0].lines] == [[3, 11], [32, 32], [160, 160]]
    assert {"conv_2", "side of an image of 160 px"} <= set(words(figure))


def test_cka_is_written_in_its_cells():
    figure = interpret.plot_cka(np.array([[1, 0.25]]), ["x"], ["x", "y"], ("before", "after"))
    assert {"1.00", "0.25", "before", "after", "x", "y"} <= set(words(figure))


def test_grad_cam_draws_each_heatmap_over_its_image_in_grey():
    images = pictures(3)
    heat = {"before": np.zeros((3, 8, 8)), "after": rng().random((3, 8, 8))}
    figure = interpret.plot_grad_cam(images, heat, ["one", "two", "three"])
    images_drawn = images_in(figure)
    assert len(images_drawn) == 9
    np.testing.assert_array_equal(images_drawn[1], images[1])
    spread = np.ptp(images_drawn[4] - images_drawn[4][:1, :1], axis=-1)  # a heatmap of zeros: one colour over grey
    assert spread.max() < 1e-9
    assert np.ptp(images_drawn[7] - images_drawn[7][:1, :1], axis=-1).max() > 0.1
    assert {"two", "image", "before", "after"} <= set(words(figure))


def test_corruptions_have_one_panel_per_kind():
    noise, blur = ({"before": [0.8, low], "after": [0.9, high]} for low, high in ((0.5, 0.4), (0.7, 0.8)))
    figure = interpret.plot_corruptions({"noise": noise, "blur": blur}, [0, 5])
    assert [line.get_xydata().tolist() for line in figure.axes[1].lines] == [[[0, 0.8], [5, 0.7]], [[0, 0.9], [5, 0.8]]]
    assert len({line.get_linestyle() for line in figure.axes[0].lines}) == 2
    assert {"noise", "blur", "severity", "before", "after"} <= set(words(figure))


def test_many_models_and_sides_are_all_drawn_and_told_apart():
    models = [f"model {place}" for place in range(12)]
    probes = [Probe("block_1", 16, 0.3, 0.25, 0.36), Probe("block_2", 24, 0.6, 0.5, 0.7)]
    layers = [Reach("conv_1", 2, 3, 16), Reach("conv_2", 4, 11, 8)]
    by_depth = interpret.plot_probes(dict.fromkeys(models, probes), 0.1).axes[0].lines[:-1]
    by_severity = interpret.plot_corruptions({"noise": dict.fromkeys(models, (0.8, 0.5))}, [0, 5]).axes[0].lines
    sides = interpret.plot_receptive_field(layers, range(32, 44)).axes[0].lines[1:]
    for lines in (by_depth, by_severity, sides):
        assert len({(line.get_color(), line.get_linestyle(), line.get_marker()) for line in lines}) == 12
