import numpy as np
import pytest

from transfer_utils.records.record import RunRecord
from transfer_utils.results.curves import (
    MAX_POINTS,
    accuracy_before_fine_tuning,
    collapsed,
    dip,
    fell_back,
    fine_tuning_curve,
    first_reaching,
    join_stages,
    mean_history,
    replay_patience,
    timeline,
    trained_accuracy,
)


def record(**curves):
    return RunRecord(curves=curves)


class TestJoinedStages:
    def test_stages_are_joined_in_the_order_of_training(self):
        joined = join_stages(record(stage2={"loss": [0.5]}, stage1={"loss": [1.0, 0.8], "accuracy": [0.4]}))
        assert joined.stages == {"stage1": slice(0, 2), "stage2": slice(2, 3)}
        assert joined.values["loss"].tolist() == [1.0, 0.8, 0.5]
        np.testing.assert_equal(joined.values["accuracy"], [0.4, np.nan, np.nan])
        assert joined.ran.all()

    def test_a_run_is_padded_to_given_lengths(self):
        joined = join_stages(record(stage2={"loss": [0.5]}), {"stage1": 1, "stage2": 2})
        np.testing.assert_equal(joined.values["loss"], [np.nan, 0.5, np.nan])
        assert joined.ran.tolist() == [False, True, False]


class TestTimeline:
    def record(self, **changes):
        """Return a record of two stages of two epochs, with preparation before each."""
        stages = {
            "stage1": {"val_accuracy": [0.5, 0.6], "seconds": [1.0, 2.0]},
            "stage2": {"val_accuracy": [0.65, 0.7], "seconds": [4.0, 4.0]},
        }
        timing = {"features": 10.0, "stage1": 5.0, "boundary": 20.0, "stage2": 8.5, "evaluation": 99.0}
        return RunRecord(**{"curves": stages, "timing_sec": timing, **changes})

    def test_the_seconds_include_the_preparation_of_each_stage(self):
        moments = timeline(self.record())
        assert [moment.epoch for moment in moments] == [1, 2, 3, 4]
        # 10 of features and 2 of solving the head, then the epochs of stage 1; 20 of boundary, then those of stage 2.
        assert [moment.seconds for moment in moments] == pytest.approx([13.0, 15.0, 39.0, 43.0])
        assert [moment.val_accuracy for moment in moments] == [0.5, 0.6, 0.65, 0.7]
        short = timeline(self.record(timing_sec={"stage1": 1.0}))  # less than the sum of its epochs
        assert [moment.seconds for moment in short] == pytest.approx([1.0, 3.0, 7.0, 11.0])
        assert timeline(self.record(curves={"training": {"val_accuracy": [0.1, 0.2]}})) == []
        unknown = self.record()
        unknown.curves["stage1"]["seconds"][1] = None
        assert [moment.seconds for moment in timeline(unknown)] == pytest.approx([34.0, 38.0])
        without_epochs = self.record(curves={"stage1": {}, "stage2": {"val_accuracy": [0.7], "seconds": [4.0]}})
        assert [moment.seconds for moment in timeline(without_epochs)] == pytest.approx([39.0])

    def test_the_first_epoch_that_reaches_an_accuracy(self):
        epochs = {accuracy: first_reaching(self.record(), accuracy).epoch for accuracy in (0.1, 0.6, 0.61, 0.7)}
        assert epochs == {0.1: 1, 0.6: 2, 0.61: 3, 0.7: 4}
        assert first_reaching(self.record(), 0.71) is None


class TestHistory:
    def test_one_run(self):
        stages = {"stage1": {"loss": [1.0, 0.8], "seconds": [1.0, 2.0]}, "stage2": {"loss": [0.5], "seconds": [10.0]}}
        history = mean_history([record(**stages)])
        assert history.epochs.tolist() == [1, 2, 3]
        assert history.starts == {"stage1": 1, "stage2": 3}
        assert history.values["loss"].tolist() == [1.0, 0.8, 0.5]
        assert history.seconds.tolist() == [1.0, 3.0, 13.0]
        assert history.has("loss") and not history.has("learning_rate")
        assert history.deviations == {}

    def test_a_mean_ends_with_the_first_run_that_ends(self):
        runs = [
            record(stage1={"accuracy": [0.4, 0.6]}),
            record(stage1={"accuracy": [0.6]}),
            record(stage1={"loss": [1]}),
        ]
        history = mean_history(runs)
        np.testing.assert_equal(history.values["accuracy"], [0.5, np.nan])
        np.testing.assert_allclose(history.deviations["accuracy"], [np.std([0.4, 0.6], ddof=1), np.nan])

    def test_mean_seconds_increase_although_one_run_has_fewer_epochs_of_a_stage(self):
        slow = record(stage1={"loss": [1.0], "seconds": [9.0]}, stage2={"loss": [0.5, 0.4], "seconds": [10.0, 10.0]})
        long = record(stage1={"loss": [1.0, 0.9], "seconds": [1.0, 1.0]}, stage2={"loss": [0.5], "seconds": [10.0]})
        assert mean_history([slow, long]).seconds.tolist() == [5.0, 5.5, 15.5, 20.5]

    def test_the_work_before_a_stage_stands_before_its_first_epoch(self):
        stages = {"stage1": {"loss": [1.0], "seconds": [2.0]}, "stage2": {"loss": [0.5, 0.4], "seconds": [10.0, 10.0]}}
        timing = {"total": 90.0, "data": 5.0, "features": 20.0, "stage1": 3.0, "boundary": 30.0, "stage2": 20.0}
        run = RunRecord(curves=stages, timing_sec=timing)
        assert mean_history([run]).seconds.tolist() == [28.0, 68.0, 78.0]
        shorter = RunRecord(curves={"stage2": {"loss": [0.5], "seconds": [10.0]}}, timing_sec={"boundary": 12.0})
        assert mean_history([run, shorter]).seconds.tolist() == [14.0, 45.0, 50.0]

    def test_an_old_log_has_one_stage_and_may_have_gaps(self):
        history = mean_history([record(accuracy=[0.1, None, 0.3])])
        assert history.starts == {"training": 1}
        np.testing.assert_equal(history.values["accuracy"], [0.1, np.nan, 0.3])

    @pytest.mark.parametrize("curves", [{}, {"stage1": {}}, {"stage1": {"loss": []}}])
    def test_a_run_without_curves(self, curves):
        history = mean_history([RunRecord(curves=curves)])
        assert len(history.epochs) == 0 and history.starts == {} and len(history.points()) == 0

    def test_long_curves_are_thinned_evenly_up_to_the_last_epoch(self):
        points = mean_history([record(stage1={"loss": [1.0] * 9999})]).points()
        assert len(points) == MAX_POINTS
        assert points[0] == 0 and points[-1] == 9998


def test_fine_tuning_begins_at_the_best_of_stage_1_or_the_solved_head_and_ends_with_the_shortest_run():
    best_before_last = {"val_accuracy": [0.6, 0.7], "val_loss": [1.0, 1.1]}
    runs = [
        record(stage1=best_before_last, stage2={"val_accuracy": [0.7, 0.8]}),
        record(stage1={"val_accuracy": [0.1], "val_loss": [2.0]}, stage2={"val_accuracy": [0.5, None]}),
    ]
    runs[1].metrics["val_convex"] = 0.4
    assert fine_tuning_curve(runs).tolist() == pytest.approx([0.5, 0.6])


def fine_tuned(val_loss, val_accuracy, loss=(1.0,)):
    """Return a record of ten classes whose stage 1 ended at a validation loss of 0.9 and 60 %."""
    stage2 = {"val_loss": list(val_loss), "val_accuracy": list(val_accuracy), "loss": list(loss)}
    stages = {"stage1": {"val_loss": [1.2, 0.9], "val_accuracy": [0.5, 0.6]}, "stage2": stage2}
    metrics = {"val_end2end": 0.6}
    return RunRecord(curves=stages, dataset={"class_names": list("abcdefghij")}, metrics=metrics)


def test_a_setting_that_fell_back_to_its_start_counts_with_its_last_epoch():
    run = fine_tuned([1.0, 0.9], [0.3, 0.4])
    for kept, fell, accuracy in (("stage1", True, 0.4), ("stage2", False, 0.6), (["stage1"], False, 0.6)):
        run.network = {"weights_from": kept}
        assert (fell_back(run), trained_accuracy(run)) == (fell, accuracy)


@pytest.mark.parametrize(
    ("loss", "accuracy", "expected"), [(2.304, 0.1, True), (2.1, 0.1, False), (2.304, 0.4, False), (0.5, 0.1, False)]
)
def test_a_collapse_is_one_answer_for_everything(loss, accuracy, expected):
    assert collapsed(fine_tuned([2.3], [accuracy], [loss])) is expected


def test_a_stage_that_never_gets_ahead_is_behind_for_all_its_epochs():
    curve = fine_tuned([1.1, 1.0, 1.2], [0.4, 0.5, 0.6])
    assert dip(curve) == 3
    curve.curves["stage1"] = {}
    assert dip(curve) == 0, "an older record does not tell its start"
    curve.metrics["val_convex_loss"] = 1.05
    assert dip(curve) == 1


@pytest.mark.parametrize(
    ("patience", "epochs", "best_epoch", "accuracy"),
    [(1, 1, 0, 0.6), (2, 2, 0, 0.6), (3, 6, 3, 0.7), (4, 7, 7, 0.8), (np.inf, 7, 7, 0.8)],
)
def test_every_patience_is_replayed_on_one_curve(patience, epochs, best_epoch, accuracy):
    curve = fine_tuned([1.1, 1.0, 0.8, 0.9, 0.9, 0.9, 0.7], [0.4, 0.5, 0.7, 0.6, 0.6, 0.6, 0.8])
    assert replay_patience(curve, patience) == (epochs, best_epoch, accuracy)
    assert bool(best_epoch) == (patience > dip(curve)), "a longer patience than the dip survives it"
    curve.curves["stage1"]["val_accuracy"][-1] = 0.95
    assert replay_patience(curve, patience) == (epochs, 0, 0.95), "a stage of lower accuracy would not be kept"
    curve.curves["stage1"]["val_accuracy"][-1] = 0.6
    curve.metrics["val_convex"] = 0.65
    if not best_epoch:
        assert replay_patience(curve, patience).val_accuracy == 0.65, "the solved head is where stage 2 starts"
        for loss, accuracy in ((0.91, 0.6), (0.89, 0.65)):
            curve.metrics["val_convex_loss"] = loss
            assert replay_patience(curve, patience).val_accuracy == accuracy, "the one of lower loss"


def test_a_lost_epoch_of_stage_1_does_not_move_the_others():
    curves = {"stage1": {"val_loss": [None, 0.5, 0.4], "val_accuracy": [0.1, 0.2, 0.3]}, "stage2": {}}
    assert accuracy_before_fine_tuning(RunRecord(curves=curves)) == 0.3
    stages = ({"stage2": {"val_accuracy": accuracies}} for accuracies in ([None, 0.6], [0.4, 0.8]))
    runs = [RunRecord(metrics={"val_convex": 0.5}, curves=curves) for curves in stages]
    assert fine_tuning_curve(runs)[2] == pytest.approx(0.7)
