from tests.plotting.figures import lines_by_label, words
from transfer_utils import plotting
from transfer_utils.records.record import RunRecord

SUMMARY = {
    "transfer": {5: (0.7, 0.6, 0.8), 20: (0.8, 0.75, 0.85)},
    "baseline": {20: (0.5, 0.4, 0.6), 5: (0.2, 0.1, 0.3)},
}


def test_label_efficiency_draws_means_in_order_and_the_range_of_the_draws_as_a_band():
    figure = plotting.plot_label_efficiency(SUMMARY)
    lines = lines_by_label(figure)
    assert lines["CNN from scratch"].get_xydata().tolist() == [[5, 0.2], [20, 0.5]]
    assert lines["transfer learning"].get_linestyle() != lines["CNN from scratch"].get_linestyle()
    band = figure.axes[0].collections[1].get_paths()[0].vertices
    assert (band[:, 1].min(), band[:, 1].max()) == (0.1, 0.6)
    fewer = plotting.plot_label_efficiency(SUMMARY | {"random": {20: (0.3, 0.3, 0.3)}})
    for each in (figure, fewer):
        assert [tick.get_text() for tick in each.axes[0].get_xticklabels()] == ["5", "20"]
    assert "linear probe" in lines_by_label(plotting.plot_label_efficiency(SUMMARY, transfer="linear probe"))


def run_with(weights_from: str) -> RunRecord:
    return RunRecord(network={"weights_from": weights_from}, metrics={"val_end2end": 0.8})


def test_a_run_that_fell_back_to_its_start_is_a_hollow_point():
    runs = {
        "fell back": run_with("stage1"),
        "best epoch is the last": run_with("stage2"),
        "not fine-tuned": RunRecord(metrics={"val_end2end": 0.8}),
    }
    figure = plotting.plot_option_effects({"rate": {name: [run] for name, run in runs.items()}})
    hollow = [line.get_markerfacecolor() != line.get_color() for line in figure.axes[0].lines if len(line.get_xdata())]
    assert hollow == [True, False, False]
    assert any("fell back" in text and "start" in text for text in words(figure))
    without = plotting.plot_option_effects({"rate": {"kept": [runs["best epoch is the last"]]}})
    assert not without.legends
