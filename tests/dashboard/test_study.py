from tests.samples import write_run, write_stopped_early
from transfer_utils.dashboard import option_charts, study_charts
from transfer_utils.records.record import read_record


def texts(app):
    return [text.value for text in app.text]


def test_a_study_answers_every_question(study, draw):
    app = draw(study, "Study")
    assert [heading.value for heading in app.subheader] == [
        "1 · Start", "2 · Optimizer of the head", "3 · Unfreezing depth", "4 · Learning rate", "5 · Augmentation",
        "6 · Test-time augmentation", "Label efficiency", "Image size", "Any other option",
    ]  # fmt: skip
    [depth] = [text for text in texts(app) if text.startswith("Highest: all layers unfrozen, 88.1 %")]
    assert depth.count("(3 seeds)") == 2
    assert any("Lowest: learning rate 0.1, 53.3 %" in text for text in texts(app))
    measured = "+0.9 points on average over 69 runs. The chart shows the best 8 of 23 configurations."
    assert measured in texts(app)
    captions = [caption.value for caption in app.caption]
    assert captions.count(option_charts.BARS) == captions.count(study_charts.BARS) == 1
    assert captions.count(study_charts.BANDS) == 7
    held = [text for text in texts(app) if text.startswith("Held fixed")]
    [of_depth] = [text for text in held if "unfrozen" not in text and " augmented" in text]
    for part in ("transfer learning", "learning rate 0.001", "all labels", "160 px"):
        assert part in of_depth


def test_unanswered_questions_are_named_with_the_command_that_answers_them(study, runs, draw):
    app = draw(study, "Study")
    assert "6 · Early stopping" in app.caption[-1].value
    assert app.code[-1].value == "transfer-utils sweep studies/six_stages.yaml"
    assert "3 · Unfreezing depth" in draw(runs, "Study").caption[-1].value


def test_the_split_and_any_other_option_are_chosen_in_the_address(study, draw):
    app = draw(study, "Study", split="test", option="batch_norm")
    assert any(text.startswith("Highest: all layers unfrozen, 87.3 %") for text in texts(app))
    assert not app.exception and app.selectbox(key="option").value == "batch_norm"


def test_a_hidden_run_is_not_in_the_study(study, draw):
    hidden = [f"depth--1-s{seed}" for seed in range(3)]
    conclusions = texts(draw(study, "Study", hidden=hidden))
    assert any(text.startswith("Highest: last 60 layers unfrozen") for text in conclusions)


def test_values_of_diverged_runs_are_named(tmp_path, draw):
    for place, (rate, status) in enumerate(((1e-3, "completed"), (1e-4, "completed"), (1.0, "diverged"))):
        write_run(tmp_path / f"run{place}", {"n_unfreeze": 10, "learning_rate_stage2": rate}, status, place)
    write_run(tmp_path / "other", {"n_unfreeze": 30, "learning_rate_stage2": 2.0}, "diverged", 3)
    [conclusion] = [text for text in texts(draw(tmp_path, "Study")) if text.startswith("Highest")]
    assert conclusion.endswith("Diverged: 1.")


def test_early_stopping_is_recognised_by_the_number_of_epochs(tmp_path, draw):
    write_stopped_early(tmp_path / "one")
    assert "1 run stopped early, after 60 % of the planned epochs." in texts(draw(tmp_path, "Study"))


def test_an_option_without_accuracies_on_this_split_has_no_chart(tmp_path, draw):
    for place, head in enumerate(("batchnorm", "plain")):
        path = write_run(tmp_path / f"run{place}", {"n_unfreeze": 10, "head": head}, "completed", place)
        record = read_record(path)
        record.metrics = {name: value for name, value in record.metrics.items() if not name.startswith("test")}
        record.save(path)
    app = draw(tmp_path, "Study", split="test", option="head")
    assert not app.exception
    assert "No run has this accuracy yet." in [caption.value for caption in app.caption]


def test_frozen_features_are_compared_with_the_best_of_many_networks_from_scratch(tmp_path, draw):
    def accuracy(name: str, options: dict, place: int) -> float:
        path = write_run(tmp_path / name, options, "completed", place)
        return read_record(path).metrics["val_end2end"]

    rates = [10.0**-n for n in range(1, 10)]
    best = max(accuracy(f"s{n}", {"model": "baseline", "learning_rate_baseline": r}, n) for n, r in enumerate(rates))
    gain = 100 * (accuracy("frozen", {"n_unfreeze": 0}, 9) - best)
    conclusion = f"Best with frozen features, relative to the best from scratch: {gain:+.1f} points"
    assert f"{conclusion} (1 seed against 1 seed)." in texts(draw(tmp_path, "Study"))
