"""A run on two devices gives the result of one device. A child process, of a minute, has two virtual CPU devices."""

import json
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

from tests import tiny
from transfer_utils.config.options import RunConfig, preset
from transfer_utils.errors import UserError
from transfer_utils.models.networks import build_top_classifier
from transfer_utils.training import distribute
from transfer_utils.training.stages import run_stage1_training

# Devices sum in different orders: float32 agrees to about 1e-6 per step, and these runs take about thirty steps.
CLOSE = 1e-4

# The last batch of the features has five rows, which two devices cannot share; the batches of images have ten.
FEATURES, WIDTH = 25, 8
OPTIONS = {"dropout": 0.0, "patience": 0, "epochs_stage1": 4, "learning_rate_stage1": 0.02}
OPTIONS |= {"epochs_stage2": 3, "epochs_baseline": 4}
RUNS = {
    "transfer": {"batch_norm": "trained", "export": "float32"},
    "keras": {"engine": "keras", "views": 0, "schedule": "cosine"},
    "growing": {"engine": "keras", "views": 0, "schedule": "cosine", "image_size": 64, "image_size_start": 32},
    "baseline": {"engine": "keras", "model": "baseline"},
    # At a higher rate, rounding grows from step to step; the moving statistics change enough at this one.
    "compact": {"engine": "keras", "model": "baseline", "baseline": "compact", "learning_rate_baseline": 1e-5},
}


def head_on_features(config: RunConfig) -> dict[str, np.ndarray]:
    """Return the weights of a head trained on random features, and how much its copies differed."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2 * FEATURES, WIDTH)), np.eye(3, dtype="float32")[rng.integers(3, size=2 * FEATURES)]
    keras.utils.set_random_seed(0)
    with distribute.scope(config):
        head = build_top_classifier(WIDTH, 3, config)
    split = slice(FEATURES), slice(FEATURES, None)
    data, gaps = [(x[part].astype("float16"), y[part]) for part in split], []
    # After each epoch, because the best weights are copied to all devices at the end.
    curves = run_stage1_training(head, *data, config, on_epoch_end=lambda epoch, curves: gaps.append(apart(head)))
    assert not any(layer.synchronized for layer in distribute.batch_norms(head))
    numbers = {k: np.array(v) for k, v in curves.items() if k != "seconds"}
    return {"weights": flat(head), "apart": np.array(gaps)} | numbers


def flat(model: keras.Model) -> np.ndarray:
    return np.concatenate([weight.ravel() for weight in model.get_weights()])


def apart(model: keras.Model) -> float:
    """Return the largest difference between the copies of the weights on the devices."""
    copies = [getattr(weight.value, "values", [weight.value]) for weight in model.trainable_variables]
    return max(float(np.ptp([copy.numpy() for copy in each], axis=0).max()) for each in copies)


def whole_run(config: RunConfig, name: str, **hooks) -> dict[str, np.ndarray]:
    """Return the weights of the saved model and the curves of a run; its folder is named ``name``."""
    from transfer_utils.experiment.run import run_experiment
    from transfer_utils.models.saving import load_model

    paths = {"output_dir": f"{name}/runs", "model_path": f"{name}/m.h5", "cache_dir": f"{name}/cache"}
    lines = []
    run = run_experiment(config.model_copy(update=paths), log=lines.append, **hooks)
    Path(name, "log.txt").write_text("\n".join(lines))
    curves = {f"{s} {k}": np.array(v) for s, c in run.record.curves.items() for k, v in c.items() if k != "seconds"}
    metrics = {k: np.array(v) for k, v in run.record.metrics.items() if v is not None and not k.endswith("ece")}
    return {"weights": flat(load_model(run.folder / "model.keras"))} | curves | metrics


def in_the_child(folder: str) -> None:
    """Do everything that needs two devices, and save the numbers in ``folder``."""
    import tensorflow as tf

    cpu, half = tf.config.list_physical_devices("CPU")[0], tf.config.LogicalDeviceConfiguration()
    tf.config.set_logical_device_configuration(cpu, [half, half])
    keras.applications.MobileNetV2 = tiny.backbone
    os.chdir(folder)
    images = os.environ["IMAGES"]

    def config(strategy: str, **options) -> RunConfig:
        return tiny.config(data_dir=images, strategy=strategy, **{**OPTIONS, **options})

    def keep(name: str, arrays: dict) -> None:
        np.savez(f"{name}.npz", **arrays)

    for strategy in ("none", "mirrored"):
        keep(f"head-{strategy}", head_on_features(config(strategy)))
        for name, options in RUNS.items():
            keep(f"{name}-{strategy}", whole_run(config(strategy, **options), f"{name}-{strategy}"))

    def interrupt(title: str, done: int, total: int) -> None:
        if title.startswith("baseline, epoch 3") and done > 1:
            raise KeyboardInterrupt

    mirrored = config("mirrored", **RUNS["baseline"])
    try:
        whole_run(mirrored, "resumed", progress=interrupt)
    except KeyboardInterrupt:
        keep("resumed", whole_run(mirrored, "resumed"))

    with distribute.scope(mirrored):
        model = keras.Sequential([keras.Input((WIDTH,)), keras.layers.Dense(3)])
    sizes = {}
    for n in (6, 5):
        x, _ = distribute.shares(model, np.zeros((n, WIDTH), "float32"), np.zeros((n, 3), "float32"))
        sizes[n] = [len(part) for part in getattr(x, "values", [x])]
    Path("shares.json").write_text(json.dumps(sizes))

    # Negative controls: each omits one step of distributed training.
    optimizers = (keras.optimizers.AdamW, keras.optimizers.Adam)
    whole = {kind: kind._all_reduce_sum_gradients for kind in optimizers}
    for kind in optimizers:
        kind._all_reduce_sum_gradients = lambda self, grads_and_vars: grads_and_vars
    keep("head-not-reduced", head_on_features(config("mirrored")))
    for kind in optimizers:
        kind._all_reduce_sum_gradients = whole[kind]
    distribute.batch_norms = lambda model: iter(())
    keep("head-not-synchronised", head_on_features(config("mirrored")))


@pytest.fixture(scope="module")
def results(tmp_path_factory) -> Path:
    """Return the folder with the results of a process that has two devices."""
    folder = tmp_path_factory.mktemp("devices")
    root = str(Path(__file__).parents[2])
    code = f"import sys; sys.path.insert(0, {root!r}); from tests.training.test_distribute import in_the_child as do; "
    code += f"do({str(folder)!r})"
    environment = os.environ | {"IMAGES": tiny.image_folder(), "CUDA_VISIBLE_DEVICES": "-1"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr[-4000:]
    return folder


def read(folder: Path, name: str) -> dict[str, np.ndarray]:
    with np.load(folder / f"{name}.npz") as file:
        return dict(file)


def max_difference(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> float:
    assert one.keys() == other.keys()
    return max(float(np.abs(one[name] - other[name]).max()) for name in one)


@pytest.mark.torture
@pytest.mark.parametrize("name", ["head", *RUNS])
def test_two_devices_give_the_result_of_one(results, name):
    one, two = read(results, f"{name}-none"), read(results, f"{name}-mirrored")
    assert max_difference(one, two) < CLOSE
    if name == "head":
        start = keras.utils.set_random_seed(0) or flat(build_top_classifier(WIDTH, 3, tiny.config(**OPTIONS)))
        assert np.abs(two["weights"] - start).max() > 100 * CLOSE, "nothing was trained"


@pytest.mark.torture
def test_without_the_sum_of_the_gradients_the_devices_differ(results):
    one, two, alone = (read(results, f"head-{name}") for name in ("none", "mirrored", "not-reduced"))
    assert not two["apart"].any() and alone["apart"].max() > 100 * CLOSE
    assert max_difference(one, alone) > 100 * CLOSE


@pytest.mark.torture
def test_without_statistics_of_the_whole_batch_the_weights_differ(results):
    one, alone = read(results, "head-none"), read(results, "head-not-synchronised")
    assert max_difference(one, alone) > 10 * CLOSE


@pytest.mark.torture
def test_a_batch_is_split_or_copied_to_all_devices_if_it_cannot_be(results):
    assert json.loads((results / "shares.json").read_text()) == {"6": [3, 3], "5": [5]}


@pytest.mark.torture
def test_an_interrupted_run_gives_the_result_of_an_uninterrupted_one(results):
    assert max_difference(read(results, "baseline-mirrored"), read(results, "resumed")) == 0
    assert "Resuming" in (results / "resumed" / "log.txt").read_text()


@pytest.mark.torture
def test_the_log_names_the_devices_and_what_runs_on_one(results):
    line = "Training on 2 devices, CPU:0, CPU:1; the frozen part runs on one."
    assert line in (results / "keras-mirrored" / "log.txt").read_text()
    assert "devices" not in (results / "keras-none" / "log.txt").read_text()


def test_an_unusable_strategy_is_refused(monkeypatch):
    mirrored = RunConfig(strategy="mirrored")
    with pytest.raises(UserError, match=r"^strategy must be one of 'none' or 'mirrored', got 'multiworker'"):
        preset("none", strategy="multiworker")
    monkeypatch.setattr(distribute, "_logical_devices", lambda: ["GPU:0"])
    with pytest.raises(UserError, match="strategy must be 'none' with fewer than two GPUs, got 'mirrored'"):
        distribute.devices(mirrored)
    assert distribute.devices(RunConfig()) == []
    monkeypatch.setattr(distribute, "_logical_devices", lambda: ["GPU:0", "GPU:1", "GPU:2"])
    with pytest.raises(UserError, match=r"batch_size must be a multiple of 3, .* got 128"):
        distribute.devices(mirrored)
    assert len(distribute.devices(RunConfig(strategy="mirrored", batch_size=129))) == 3
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    with pytest.raises(UserError, match="strategy must be 'none' with the jax backend, got 'mirrored'"):
        distribute.devices(mirrored)


def test_a_model_built_for_one_device_is_refused():
    config = tiny.config(strategy="mirrored")
    data = np.zeros((10, WIDTH), "float32"), np.eye(2, dtype="float32")[np.arange(10) % 2]
    with pytest.raises(UserError, match=r"needs a model that was built in distribute\.scope"):
        run_stage1_training(build_top_classifier(WIDTH, 2, config), data, data, config)
