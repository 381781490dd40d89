"""The command line: flags, help, error messages and exit status."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import warnings
from pathlib import Path
from types import SimpleNamespace

import keras
import pytest
from PIL import Image

from tests import tiny
from tests.data.folders import picture_folder
from transfer_utils.cli.main import main
from transfer_utils.config.options import RunConfig, preset
from transfer_utils.config.presets import PRESET_PURPOSE
from transfer_utils.errors import Diverged, UserError
from transfer_utils.models.saving import name_classes, save_model
from transfer_utils.records.record import RunRecord

# The command of the original script, with its default values.
ORIGINAL = (
    "train --n_unfreeze 0 --epochs_stage1 10 --epochs_stage2 10 --batch_size 128 --augment --rotation 15 --zoom 0.1 "
    '--width_shift 0.1 --height_shift 0.1 --use_mixup --json_output_path ""'
)


@pytest.fixture
def configs(monkeypatch):
    """Return the list of configs that the commands pass on; nothing is trained."""
    configs: list[RunConfig] = []

    def run(config, **ignored):
        configs.append(config)
        return SimpleNamespace(path="runs/0001/run.json")

    monkeypatch.setattr("transfer_utils.cli.compare.run_comparison", run)  # first, as its module imports run_experiment
    monkeypatch.setattr("transfer_utils.experiment.run.run_experiment", run)
    return configs


# What a newcomer may type, and a part of the answer.
WRONG = [
    ("trian", "No such command 'trian'. (Did you mean"),
    ("help", "Try 'transfer-utils --help' for help."),
    ("--preset offline", "No such option '--preset'. Options follow a command: transfer-utils train --preset."),
    ("train offline", "Unexpected word 'offline'. Did you mean --preset offline?"),
    ("train extra", "Unexpected word 'extra'."),
    ("train --augment yes", "Unexpected word 'yes'. A switch takes no value: write --augment to turn it on"),
    ("train -preset offline", "No such option '-p'. Options begin with two hyphens, such as --preset."),
    ("train --zom 0.1", "No such option '--zom'. Did you mean '--zoom'?"),
    ("train --epochs 5", "No such option '--epochs'. (Did you mean one of: '--epochs"),
    ("train --zo\x1b[31mm 1", "No such option '--zo\\x1b[31mm'"),
    ("train --zoom", "requires an argument"),
    ("train --zoom wide", "zoom must be a number, got 'wide'."),
    ("train --epochs_stage1 1.5", "epochs_stage1 must be a whole number, got '1.5'."),
    ("train --seed -1", "seed must be at least 0, got '-1'."),
    ("train --data_dir none --dataset folder", "data_dir must be an image folder, got 'none', which does not exist."),
    ("train --weights none.h5 --dataset photo-digits --quiet", "or an existing file, got 'none.h5'."),
    ("compare --data_dir none --preset cifar10", "data_dir must be an image folder, got 'none', which does not"),
    ("compare --model baseline", "compare trains both models: leave out --model"),
    ("predict model.keras", "Missing argument 'IMAGES...'"),
    ("predict none.keras a.png", "There is no model file none.keras."),
    ("predict a.png model.h5", "The model comes before the images: transfer-utils predict model.h5 a.png"),
    ("sweep six_stage", "augmentation, forgetting, opponents, six_stages. Did you mean 'six_stages'?"),
    ("sweep a\x1b[31mb.yaml", "The study a\\x1b[31mb.yaml cannot be read"),
    ("sweep six_stages --workers 0", "workers must be a whole number from 1 to 256, got '0'."),
    ("sweep six_stages --seeds ,", "a list such as 0,1 is expected, got ','."),
    ("sweep six_stages --workers 2 --scheduler tcp://a:1", "--scheduler has workers of its own: leave out --workers."),
    ("sweep six_stages --dry_run --data_dir nope", "image folder"),
    ("sweep six_stages --groups dept", "Did you mean 'depth'?"),
    ("course --publish --preset offline", "leave out --preset and --parameter"),
    ("course --preset offline -p preset cifar10", "the preset is named twice: leave out -p preset."),
    ("course --notebook four", "notebook must be one of 01_data_preparation"),
    ("course --timeout 0", "timeout must be a number of at least 1, got '0'."),
    ("course --timeout nan", "timeout must be a number of at least 1, got 'nan'."),
    ("inspect none", "FOLDER must be an image folder, got 'none', which does not exist."),
    ("dashboard --runs none", "runs must be a folder of run records, got 'none', which does not exist."),
    ("dashboard --export page --port 1234", "--export writes a page that needs no server: leave out --port."),
    ("dashboard --port http", "port must be a whole number from 1 to 65535, got 'http'."),
    ("pretrain --epochs 0", "epochs must be a whole number of at least 1, got '0'."),
    *(
        (f"{words} --output_dir {os.devnull}/x", f"output_dir cannot be in {os.devnull}/x: not a directory. Choose")
        for words in ("card run", "report", "course --notebook 01")
    ),
    (f"report --runs {'r' * 300}", "The file name is too long: rrr"),
]


def test_the_original_command_works_and_sets_the_defaults(configs):
    assert main(shlex.split(ORIGINAL)) == 0
    assert configs == [preset("none", augment=True, use_mixup=True)]
    assert main(["train"]) == 0
    assert configs[1] == preset("none")


def test_the_help_shows_every_option_with_its_default_in_groups(capsys):
    assert main(["train", "--help"]) == 0
    out = capsys.readouterr().out
    text = " ".join(out.split())
    for name, field in RunConfig.model_fields.items():
        for start in ("--", "--no-") if field.annotation is bool else ("--",):
            assert re.search(rf"(?<![\w-]){start}{name}(?![\w-])", text), name
        default = "empty" if field.default == "" else str(field.default)
        unit = field.json_schema_extra["unit"]
        described = f"{field.description} [default: {default}{' ' + unit if unit else ''}]"
        assert described.replace(" ", "") in text.replace(" ", ""), name
    headings = re.findall(r"^(\w+):$", out, re.MULTILINE)
    assert headings == ["General", "Data", "Network", "Training", "Augmentation", "Speed", "Paths", "Presets"]
    lines = [" ".join(line.split()) for line in out.splitlines()]
    assert all(f"{name} {purpose}" in lines for name, purpose in PRESET_PURPOSE.items()), "one line each"


def test_the_help_of_compare_shows_the_defaults_of_compare(capsys):
    assert main(["compare", "--help"]) == 0
    text = capsys.readouterr().out
    options = {line.split()[0]: " ".join(line.split()[1:]) for line in re.split(r"\n  (?=--)", text)[1:]}
    for name, default in (("epochs_stage1", "20 epochs"), ("epochs_stage2", "20 epochs"), ("n_unfreeze", "30 layers")):
        assert f"[default: {default}]" in options[f"--{name}"]
    assert "--model" not in options and "--baseline" in options, "it trains both models"


def test_hyphens_and_underscores_are_equivalent(configs):
    words = "--n_unfreeze 30 --epochs_stage1 3 --json_output_path a_b.json --use_mixup --no-horizontal_flip --zoom 0.15"
    main(["train", *words.split()])
    main(["train", *(word.replace("_", "-") if word.startswith("--") else word for word in words.split())])
    assert configs[0] == configs[1]
    changed = {"n_unfreeze": 30, "epochs_stage1": 3, "json_output_path": "a_b.json", "use_mixup": True}
    assert configs[0].changes() == changed | {"horizontal_flip": False, "zoom": 0.15}


def test_an_image_folder_without_a_preset_gets_settings_that_suit_it_and_a_command_that_repeats_them(configs, capsys):
    picture_folder(Path("pets"), 10, size=(50, 40))
    folder = ["train", "--dataset", "folder", "--data_dir", "pets"]
    assert main([*folder, "--batch_size", "7"]) == 0
    chosen = {"stored_size": 40, "epochs_stage2": 20, "rotation": 10.0, "zoom": 0.1, "views": 4, "batch_size": 7}
    assert configs[0] == preset("photos", data_dir="pets", **chosen)
    line = capsys.readouterr().out.splitlines()[0]
    assert line.startswith("For 20 images of about 40 px, 12 of them to train on: stored_size 40 (their own size), ")
    overrides = "Options override these settings, and --preset all of them."
    assert re.search(rf" About [\d.]+ m?i?n?.* of disk\. {re.escape(overrides)}$", line)
    Path("pets", "cat", "9.png").unlink()  # other images, but the same settings
    for config in (configs[0], preset("none", dataset="folder", data_dir="pets")):
        assert main(shlex.split(config.command())[1:]) == 0
        assert configs[-1] == config and len(capsys.readouterr().out.splitlines()) == 1
    assert main([*folder, "--model", "baseline"]) == 0 and configs[-1].preset == "none"
    capsys.readouterr()
    main(["compare", *folder[1:], "--batch_size", "7", "--epochs_stage2", "3"])
    assert configs[-1] == preset("photos", data_dir="pets", **chosen | {"epochs_stage2": 3})
    assert "stored_size 40 (their own size), batch_size 7 and epochs_stage2 3 (as given), " in capsys.readouterr().out


def test_the_home_folder_is_found_after_an_equals_sign_where_a_shell_leaves_its_sign(monkeypatch, tmp_path):
    calls = []
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr("transfer_utils.report.article.write_report", lambda *places, **_: calls.append(places))
    assert main(["report", "--study=~/s.yaml", "--runs", "~r", "--output_dir=~/o"]) == 0
    assert calls == [(f"{tmp_path}/s.yaml", "~r", f"{tmp_path}/o")]


def test_compare_trains_longer_and_unfreezes_layers_without_a_preset(configs):
    main(["compare"])
    main(["compare", "--epochs_stage2", "3"])
    main(["compare", "--preset", "cifar10"])
    assert configs[0] == preset("none", epochs_stage1=20, epochs_stage2=20, n_unfreeze=30)
    assert configs[1] == preset("none", epochs_stage1=20, epochs_stage2=3, n_unfreeze=30)
    assert configs[2] == preset("cifar10")


@pytest.mark.parametrize(("words", "message"), WRONG)
@pytest.mark.fault(29)
def test_an_error_of_the_user_prints_a_message_and_exits_2(capsys, small_backbone, words, message):
    assert main(words.split()) == 2
    out, err = capsys.readouterr()
    assert out == "" and message in err and "Error: " in err and "Traceback" not in err
    assert "\x1b" not in err and not Path("runs").exists()


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        (UserError("zoom must be small."), 2, "Error: zoom must be small.\n"),
        (Diverged("The loss became nan."), 2, "Error: The loss became nan.\n"),
        (OSError(28, "No space left"), 1, "Error: A file could not be written, because the disk is full. Free some"),
        (OSError(5, "I/O error"), 1, "Error: OSError: [Errno 5] I/O error (--debug shows the traceback)\n"),
        (MemoryError(), 1, "Error: MemoryError (--debug shows the traceback)\n"),
        (RuntimeError("a\nb"), 1, "Error: RuntimeError: a (--debug shows the traceback)\n"),
        (EOFError("No data left in file"), 1, "Error: EOFError: No data left in file (--debug shows the traceback)\n"),
        (KeyboardInterrupt(), 130, "Interrupted. Run the same command again to continue.\n"),
        (SystemExit(143), 143, "Interrupted. Run the same command again to continue.\n"),
        (SystemExit(129), 129, "Interrupted. Run the same command again to continue.\n"),
    ],
    ids=lambda value: type(value).__name__,
)
@pytest.mark.fault(6)
def test_each_error_has_its_exit_status_and_only_debug_prints_a_traceback(capsys, monkeypatch, error, status, message):
    def fail(*args, **options):
        raise error

    monkeypatch.setattr("transfer_utils.experiment.run.run_experiment", fail)
    assert main(["train"]) == status
    err = capsys.readouterr().err
    assert message in err and "Traceback" not in err
    assert main(["train", "--debug"]) == status
    assert ("in fail" in capsys.readouterr().err) == isinstance(error, Exception)


def test_a_command_that_starts_again_from_nothing_does_not_promise_to_continue(capsys, monkeypatch):
    monkeypatch.setattr("transfer_utils.training.pretrain.pretrain_backbone", tiny.raise_interrupt)
    assert main(["pretrain"]) == 130
    assert capsys.readouterr().err.strip() == "Interrupted."


@pytest.mark.fault(34)
def test_sighup_ends_a_command_whose_terminal_is_gone_with_its_status():
    code = """
import os, signal, sys
from transfer_utils.cli.main import main
from transfer_utils.experiment import run
run.run_experiment = lambda config, **hooks: os.kill(os.getpid(), signal.SIGHUP)
sys.exit(main(["train"]))
"""
    reader, terminal = os.pipe()
    os.close(reader)
    assert subprocess.run([sys.executable, "-c", code], stdout=terminal, stderr=terminal).returncode == 129
    os.close(terminal)


@pytest.mark.fault(34)
def test_a_command_under_nohup_goes_on_after_sighup(monkeypatch):
    def run(config, **ignored):
        os.kill(os.getpid(), signal.SIGHUP)
        return SimpleNamespace(path="runs/0001/run.json")

    monkeypatch.setattr("transfer_utils.experiment.run.run_experiment", run)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    assert main(["train"]) == 0


@pytest.mark.parametrize("module", ["transfer_utils.cli", "click", "transfer_utils.config", "pydantic"])
@pytest.mark.fault(34)
def test_an_interrupt_while_the_program_is_imported_leaves_no_traceback(module):
    """A finder that sends SIGINT when ``module`` is imported plays a user who is quick to change their mind."""
    code = f"""
import os, runpy, signal, sys
class Impatient:
    def find_spec(self, name, *rest):
        if name == {module!r}:
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Impatient())
sys.argv = ["transfer-utils", "sweep", "none.yaml"]
runpy.run_module("transfer_utils", run_name="__main__")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 130 and "Traceback" not in done.stderr, done.stderr


@pytest.mark.parametrize(
    ("command", "function"), [("course", "course.run.run_course"), ("sweep six_stages", "studies.sweep.run_sweep")]
)
@pytest.mark.parametrize(("words", "printed"), [("", ("done\n01 failed\n", "")), ("--quiet", ("", "01 failed\n"))])
def test_the_status_is_that_of_all_runs_and_quiet_prints_only_errors(
    capfd, monkeypatch, command, function, words, printed
):
    def fail(*arguments, log, log_error, **options) -> int:
        log("done")
        log_error("01 failed")
        return 1

    monkeypatch.setattr(f"transfer_utils.{function}", fail)
    assert main([*command.split(), *words.split()]) == 1
    assert capfd.readouterr() == printed


def test_train_prints_the_path_of_the_record_unless_quiet(capfd, monkeypatch):
    monkeypatch.setattr("transfer_utils.experiment.phases.compute", lambda session: session.log("a line"))
    assert main(["train", "--quiet"]) == 0
    assert capfd.readouterr() == ("", "")
    assert main(["train", "--seed", "1"]) == 0
    path = "runs/0002-cifar10-transfer/run.json"
    assert capfd.readouterr() == (f"a line\nRecorded in {path}.\n", "")
    assert json.loads(Path(path).read_text())["command"] == "transfer-utils train --seed 1"


def test_no_control_characters_reach_the_terminal(capfd, monkeypatch):
    codes = "\x1b[31mred\x07"

    def run(config, log, **ignored):
        log(f"The class {codes} has no images.\nA second line.")
        raise UserError(codes)

    monkeypatch.setattr("transfer_utils.experiment.run.run_experiment", run)
    assert main(["train"]) == 2
    out, err = capfd.readouterr()
    assert "\x1b" not in out + err and "\x07" not in out + err
    assert out == "The class \\x1b[31mred\\x07 has no images.\nA second line.\n"
    assert err == "Error: \\x1b[31mred\\x07\n"
    assert warnings.formatwarning(codes, UserWarning, "file.py", 1) == "Warning: \\x1b[31mred\\x07\n"
    model = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Flatten(), keras.layers.Dense(2, "softmax")])
    name_classes(save_model(model, "model.keras"), RunRecord(dataset={"class_names": ["a", codes]}))
    Image.new("RGB", (9, 9)).save("good.png")
    assert main(["predict", "model.keras", "good.png", f"{codes}.png"]) == 2
    out, err = capfd.readouterr()
    assert "\x1b" not in out + err and "\\x1b[31mred\\x07" in out and "\\x1b[31mred\\x07.png" in err


def test_predict_says_what_to_do_about_a_folder_and_about_classes_without_names(capsys):
    model = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Flatten(), keras.layers.Dense(2, "softmax")])
    save_model(model, "run/model.keras")
    Image.new("RGB", (9, 9)).save("good.png")
    Path("photos").mkdir()
    assert main(["predict", "run", "good.png"]) == 2
    assert "run is a folder: name the model file in it, such as run/model.keras." in capsys.readouterr().err
    with pytest.warns(match=r"The classes of run/model\.keras are numbered\..*model\.keras\.classes\.json"):
        assert main(["predict", "run/model.keras", "photos", "good.png"]) == 2
    out, err = capsys.readouterr()
    assert "photos is a folder: name the images in it, such as photos/*.jpg." in err
    assert out.startswith("good.png: class ")


def test_predict_prints_readable_images_and_exits_2_for_the_others(capsys, monkeypatch):
    model = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Flatten(), keras.layers.Dense(4, "softmax")])
    save_model(model, "model.keras")
    Image.new("RGB", (9, 9)).save("good.png")
    os.rename("good.png", b"b\xff.png")
    Image.new("RGB", (9, 9)).save("good.png")
    Path("bad.png").write_text("not an image")
    assert main(["predict", "model.keras", "bad.png", "good.png", os.fsdecode(b"b\xff.png")]) == 2
    out, err = capsys.readouterr()
    shares = r"(, )?class \d \d+\.\d %"
    assert re.fullmatch(rf"good\.png: ({shares}){{3}}\nb\\udcff\.png: ({shares}){{3}}\n", out)
    assert err.startswith("Error: bad.png: ") and err.endswith("Error: 1 of 3 images could not be read.\n")
    with monkeypatch.context() as patch:  # which the superuser cannot be denied
        patch.setattr(os, "access", lambda path, *_, **__: "good" not in str(path))
        assert main(["predict", "model.keras", "good.png"]) == 0, "what cannot be read is found out when it is read"
    capsys.readouterr()
    assert main(["predict", "model.keras", "bad.png"]) == 2
    assert capsys.readouterr().err.endswith("Error: 1 of 1 image could not be read.\n")
    assert main(["predict", "--top", "1", "model.keras", "good.png"]) == 0
    assert len(re.findall(shares, capsys.readouterr().out)) == 1
    name_classes(Path("model.keras"), RunRecord(dataset={"class_names": list("abcd")}, not_sure={"threshold": 1.0}))
    assert main(["predict", "--top", "1", "model.keras", "good.png"]) == 0
    assert re.fullmatch(r"good\.png: not sure; [a-d] \d+\.\d %\n", capsys.readouterr().out)


def test_predict_takes_a_pattern_where_the_shell_leaves_it_as_it_is(capsys):
    """As those of Windows do, where the advice to name photos/*.jpg would otherwise not help."""
    model = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Flatten(), keras.layers.Dense(2, "softmax")])
    name_classes(save_model(model, "model.keras"), RunRecord(dataset={"class_names": ["one", "two"]}))
    for name in ("b.png", "a.png", "[1].png"):
        Image.new("RGB", (9, 9)).save(name)
    assert main(["predict", "model.keras", "?.png", "[1].png"]) == 0
    assert [line.split(":")[0] for line in capsys.readouterr().out.splitlines()] == ["a.png", "b.png", "[1].png"]
    assert main(["predict", "model.keras", "none*.png"]) == 2
    assert "none*.png" in capsys.readouterr().err


REPORT = "report --study s.yaml --runs r --output_dir o --medium"


@pytest.mark.parametrize(
    ("words", "function", "result", "expected"),
    [
        (
            "pretrain --output_dir w --n_letters 50 --epochs 2 --seed 3",
            "training.pretrain.pretrain_backbone",
            {"curves": {"val_accuracy": [0.25]}, "weights": {"file": "w.npz"}},
            (("w",), {"n_letters": 50, "epochs": 2, "seed": 3}),
        ),
        (REPORT, "report.article.write_report", None, (("s.yaml", "r", "o"), {"medium": True})),
        ("dashboard --runs r --port 9000", "dashboard.launch.launch", 3, (("r", 9000), {})),
        ("doctor --cache_dir c", "cli.doctor.examine", "the report", (("c",), {})),
        ("compare --preset offline", "cli.compare.run_comparison", "the analysis", ((preset("offline"),), {})),
    ],
)
def test_a_command_passes_its_options_on_and_prints_the_result(capsys, monkeypatch, words, function, result, expected):
    calls = []

    def record(*arguments, **options):
        options = {name: value for name, value in options.items() if name not in ("progress", "log")}
        calls.append((arguments, options))
        return result

    monkeypatch.setattr(f"transfer_utils.{function}", record)
    status = main(words.split())
    assert calls == [expected] and status == (result if function.startswith("dashboard") else 0)
    printed = {"pretrain": "Wrote w.npz to w: validation accuracy 25.0 %.", "doctor": result, "compare": result}
    assert capsys.readouterr().out.rstrip("\n") == printed.get(words.split()[0], "")
