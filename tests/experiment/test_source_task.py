"""Forgetting: what a probe of the backbone reads of its source task before and after fine-tuning."""

import math

import numpy as np
import pytest

from tests import tiny
from transfer_utils.config.options import preset
from transfer_utils.evaluation.intervals import Estimate
from transfer_utils.experiment import source_task, train
from transfer_utils.experiment.run import run_experiment
from transfer_utils.experiment.source_task import probe_source_task
from transfer_utils.models.networks import build_backbone
from transfer_utils.models.saving import load_model


@pytest.mark.slow
def test_a_probe_reads_the_letters_of_the_pretrained_backbone_and_fewer_when_its_weights_are_damaged(monkeypatch):
    monkeypatch.setattr(source_task, "TRAIN", 504)  # with TEST whole batches of 64: for others, TensorFlow traces again
    monkeypatch.setattr(source_task, "TEST", 200)
    source_task._letters.cache_clear()
    config = preset("offline", engine="keras")
    base, _ = build_backbone(config)
    before = probe_source_task(base, config)
    rng = np.random.default_rng(0)
    for layer in base.layers:
        if "expand" in layer.name and layer.get_weights():
            layer.set_weights([rng.permutation(each.ravel()).reshape(each.shape) for each in layer.get_weights()])
    after = probe_source_task(base, config)
    source_task._letters.cache_clear()
    assert before.mean > 0.5 and after.high < before.low


@pytest.mark.slow
def test_a_run_records_the_probe_before_and_after_fine_tuning(small_backbone, monkeypatch):
    weights = []

    def probe(base, config):
        weights.append(tiny.weights_of(base))
        base.trainable = False
        return Estimate(0.5 / len(weights), 0.1, 0.9, 1)

    monkeypatch.setattr(train, "probe_source_task", probe)
    last_epoch = tiny.config(selection="none", schedule="cosine", epochs_stage1=0)
    config = last_epoch.model_copy(update={"source_probe": True})  # which the options allow with letters only
    run = run_experiment(config, log=tiny.quiet)
    metrics, model = run.record.metrics, load_model(run.folder / "model.keras")
    assert sum(math.prod(weight.shape) for weight in model.trainable_weights) == run.record.network["trainable_stage2"]
    phases = list(run.record.timing_sec)
    assert phases.index("source_task") < phases.index("stage2") < phases.index("source_task_after")
    assert (metrics["source_before"], metrics["source_after"], metrics["source_after_high"]) == (0.5, 0.25, 0.9)
    assert any(value.tobytes() != weights[1][name].tobytes() for name, value in weights[0].items())
