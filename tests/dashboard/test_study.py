def headings(app):
    return [heading.value for heading in app.subheader]


def test_every_stage_is_drawn_from_the_runs_of_a_study(study, draw):
    app = draw(study, "Study")
    assert headings(app) == [
        "1 · Start", "2 · Optimizer of the head", "3 · Unfreezing depth", "4 · Learning rate", "5 · Augmentation",
        "6 · Averaged views", "Label efficiency", "Image size", "Any other option",
    ]  # fmt: skip
    told = [text.value for text in app.text]
    assert any(words.startswith("Highest: all layers unfrozen, 88.1 %") for words in told)
    assert any("Lowest: learning rate 0.1, 53.3 %" in words for words in told)
    assert "+0.9 points on average over 69 runs." in told


def test_what_no_run_answers_is_named_with_the_command_that_makes_it(study, runs, draw):
    app = draw(study, "Study")
    assert "6 · Early stopping" in app.caption[-1].value
    assert app.code[-1].value == "transfer-utils sweep studies/six_stages.yaml"
    assert "3 · Unfreezing depth" in draw(runs, "Study").caption[-1].value


def test_validation_or_test_is_chosen_in_the_address(study, draw):
    on_test = draw(study, "Study", split="test")
    told = [text.value for text in on_test.text]
    assert any(words.startswith("Highest: all layers unfrozen, 87.3 %") for words in told)


def test_any_further_option_can_be_looked_at(study, draw):
    app = draw(study, "Study", option="batch_norm")
    assert not app.exception and app.selectbox(key="option").value == "batch_norm"


def test_a_value_at_which_a_run_diverged_is_named_where_it_has_no_point(tmp_path, draw):
    from tests.samples import write_run

    for place, (rate, status) in enumerate(((1e-3, "completed"), (1e-4, "completed"), (1.0, "diverged"))):
        write_run(tmp_path / f"run{place}", {"n_unfreeze": 10, "learning_rate_stage2": rate}, status, place)
    write_run(tmp_path / "other", {"n_unfreeze": 30, "learning_rate_stage2": 2.0}, "diverged", 3)
    [told] = [text.value for text in draw(tmp_path, "Study").text if text.value.startswith("Highest")]
    assert told.endswith("Diverged: 1.")


def test_early_stopping_is_told_from_the_epochs_that_ran(tmp_path, draw):
    from tests.samples import write_run
    from transfer_utils.records import read_record

    path = write_run(tmp_path / "one", {"epochs_stage1": 8, "epochs_stage2": 12, "n_unfreeze": 10}, "completed", 0)
    record = read_record(path)
    record.curves["stage2"] = {name: values[:2] for name, values in record.curves["stage2"].items()}
    record.save(path)
    assert "1 run stopped early, after 50 % of the epochs planned." in [t.value for t in draw(tmp_path, "Study").text]


def test_an_option_says_so_where_no_run_has_the_accuracy_in_question(tmp_path, draw):
    from tests.samples import write_run
    from transfer_utils.records import read_record

    for place, head in enumerate(("batchnorm", "plain")):
        path = write_run(tmp_path / f"run{place}", {"n_unfreeze": 10, "head": head}, "completed", place)
        record = read_record(path)
        record.metrics = {name: value for name, value in record.metrics.items() if not name.startswith("test")}
        record.save(path)
    app = draw(tmp_path, "Study", split="test", option="head")
    assert not app.exception
    assert "No run has this accuracy yet." in [caption.value for caption in app.caption]


def test_frozen_features_are_set_beside_the_best_network_from_scratch_however_many_there_are(tmp_path, draw):
    from tests.samples import write_run
    from transfer_utils.records import read_record

    def accuracy(name: str, options: dict, place: int) -> float:
        path = write_run(tmp_path / name, options, "completed", place)
        return read_record(path).metrics["val_end2end"]

    rates = [10.0**-n for n in range(1, 10)]
    best = max(accuracy(f"s{n}", {"model": "baseline", "learning_rate_stage1": r}, n) for n, r in enumerate(rates))
    gain = 100 * (accuracy("frozen", {"n_unfreeze": 0}, 9) - best)
    told = [text.value for text in draw(tmp_path, "Study").text]
    assert f"Frozen features: {gain:+.1f} points over the network from scratch." in told
