"""What a run computes, phase by phase: the dataset, the trained model, its file, its evaluation."""

from __future__ import annotations

import keras

from transfer_utils.data.dataset import Dataset
from transfer_utils.data.splits import load_dataset
from transfer_utils.evaluation import not_sure
from transfer_utils.evaluation.percent import percent
from transfer_utils.experiment.evaluate import evaluate_exports, evaluate_model
from transfer_utils.experiment.few_images import certainty
from transfer_utils.experiment.mistakes import keep_thumbnails, name_mistakes
from transfer_utils.experiment.saving import copy_trained_model, export_precisions, save_trained_model
from transfer_utils.experiment.session import RunSession
from transfer_utils.experiment.train import train_model
from transfer_utils.models.engine import choose_engine
from transfer_utils.training import distribute


def compute(session: RunSession) -> None:
    """Do the whole run: fill the record of ``session`` and leave the trained model in its folder."""
    config = session.config
    # What is impossible here is refused before hours of training.
    precisions = export_precisions(config)
    choose_engine(config.engine)
    if names := distribute.devices(config):
        session.log(f"Training on {len(names)} devices, {', '.join(names)}; the frozen part runs on one.")
    keras.utils.set_random_seed(config.seed)
    with session.phase("data"):
        dataset = load_dataset(config, session.progress)
        _describe(dataset, session)
    model = train_model(dataset, session)
    with session.phase("saving"):
        save_trained_model(model, precisions, dataset, session)
    session.record.timing_sec.pop("evaluation", None)  # it starts again, whatever an earlier session did of it
    with session.phase("evaluation"):
        test = evaluate_model(dataset, session)
    with session.phase("thumbnails"):
        keep_thumbnails(test, dataset.test, session)
    if precisions:
        with session.phase("export"):
            evaluate_exports(precisions, dataset, session)
    with session.phase("saving"):
        copy_trained_model(model, session)
    _log_results(session)
    name_mistakes(test, session)


def _describe(dataset: Dataset, session: RunSession) -> None:
    """Record the dataset, and start again if it is not the one that an earlier session trained on."""
    # Other images are split anew too: what was trained on may now be in the test split.
    session.restart_if_changed("The images", session.record.dataset.get("fingerprint"), dataset.fingerprint)
    session.record.dataset = {
        "name": dataset.name,
        "description": dataset.description,
        "fingerprint": dataset.fingerprint,
        "class_names": dataset.class_names,
        "images": {name: len(split) for name, split in dataset.splits.items()},
        "skipped": dataset.n_skipped,
    }
    session.record.notes = list(dataset.notes)
    for note in dataset.notes:
        session.log(note)
    sizes = ", ".join(f"{len(split):,} {name}" for name, split in dataset.splits.items())
    session.log(f"{dataset.description}: {sizes} images, {len(dataset.class_names)} classes.")
    session.save()


def _log_results(session: RunSession) -> None:
    """Log the test accuracy, when the model is not sure and, with few images, how much the accuracies can tell."""
    record, metrics = session.record, session.record.metrics
    line = f"Test accuracy {percent(metrics['test_end2end'])}"
    line += f" (95 % interval {100 * metrics['test_low']:.1f} to {100 * metrics['test_high']:.1f})"
    if metrics.get("test_tta") is not None:
        line += f", {percent(metrics['test_tta'])} with test-time augmentation"
    session.log(line + ".")
    if session.config.not_sure_rate:
        session.log(not_sure.sentence(record.not_sure))
    if record.cross_validation:
        session.log(certainty(record))
