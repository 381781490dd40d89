"""The report of the committed runs: its numbers come from records, its sentences fit them, its bytes do not change."""

import base64
import functools
import os
import pickle
import re
import shutil
import subprocess
import sys
from pathlib import Path

import jinja2
import numpy as np
import pytest

from tests import samples
from tests.conftest import ROOT
from tests.results.test_summary import configuration
from tests.results.test_summary import run as made
from transfer_utils.cli.main import main
from transfer_utils.config.options import preset
from transfer_utils.config.recorded import identity
from transfer_utils.errors import UserError
from transfer_utils.evaluation.intervals import Estimate
from transfer_utils.records.folder import Listing, Run, load_runs
from transfer_utils.records.record import RunRecord
from transfer_utils.report import article as report
from transfer_utils.report import facts
from transfer_utils.report.article import article, page, write_report
from transfer_utils.report.rendering import environment
from transfer_utils.report.sides import augmentation, sides, timed, tries
from transfer_utils.results.options import model_kind
from transfer_utils.results.summary import Configuration, Results, collect
from transfer_utils.studies.spec import load_study
from transfer_utils.utils.palette import MODEL_NAMES
from transfer_utils.utils.text import command_line

STUDY, RUNS = report.STUDY, str(ROOT / "runs")
MARKERS = ("headline", "results", "opponents", "study", "verdicts")
PICTURE = r'<img src="([^"]+)"'
README = "# A page\n" + "".join(f"<!-- {name} -->\nold\n<!-- /{name} -->\n" for name in MARKERS)


@pytest.fixture(scope="module")
def written(tmp_path_factory) -> Path:
    """Return a folder with the complete report of the committed runs."""
    folder = tmp_path_factory.mktemp("report")
    (folder / "README.md").write_text(README, "utf-8")
    write_report(STUDY, RUNS, str(folder), medium=True, log=lambda line: None)
    return folder


@pytest.fixture(scope="module")
def text(written) -> str:
    """Return the article of the committed runs."""
    return (written / "report" / "blog_post.md").read_text("utf-8")


@pytest.fixture(scope="module")
def results() -> Results:
    return collect(load_study(STUDY), committed())


@functools.cache
def _pickled() -> bytes:
    return pickle.dumps(load_runs(RUNS).runs)


def committed() -> list[Run]:
    """Return the committed runs, which the caller may change; read once, since there are hundreds."""
    return pickle.loads(_pickled())


def altered(change=lambda record: None, more=(), keep=lambda record: True, unsupported=None) -> str:
    """Return the article of the committed runs, each altered by ``change``, and of more runs."""
    runs = [run for run in committed() if keep(run.record)]
    for run in runs:
        change(run.record)
    return article(collect(load_study(STUDY), [*runs, *more]), unsupported)


def set_accuracy(record: RunRecord, accuracy: float) -> None:
    """Set the accuracy on validation and test, with intervals and hits."""
    for split, images in (("val", "validation"), ("test", "test")):
        samples.set_accuracy(record, accuracy, record.dataset["images"][images], split)


def headline(record: RunRecord, model: str = "transfer") -> bool:
    config = record.config
    return (config["dataset"], config["model"], config["labels_per_class"]) == ("cifar10", model, 0)


def as_before(record: RunRecord) -> None:
    """Let a run with few labels end after few steps, with an epoch that was chosen on validation."""
    if record.config.get("min_steps"):
        record.config.update(min_steps=0, selection="validation")
        record.metrics["train_end2end"] = 0.6  # it is still learning


def well_fitted(record: RunRecord) -> None:
    """Let a run with few labels end after few steps that were enough."""
    as_before(record)
    if record.config["labels_per_class"]:
        record.metrics["train_end2end"] = 0.99


def at_another_rate(record: RunRecord) -> bool:
    """Return whether a run with few labels has another learning rate than those of the table."""
    rates = record.config["learning_rate_stage2"], record.config.get("learning_rate_baseline")
    return bool(record.config.get("min_steps")) and rates not in {(1e-3, 1e-3), (1e-3, 2e-2), (3e-3, 1e-3)}


def against_the_tutorial_cnn(record: RunRecord) -> bool:
    """Return whether a run belongs to transfer learning or to the weakest opponent."""
    return record.config.get("baseline") != "compact" and record.config.get("weights") != "random"


def test_the_article_has_the_sections_of_a_paper_and_numbered_figures(written, text):
    sections = ["Abstract", "Introduction", "Materials and Methods", "Results", "Discussion"]
    assert re.findall(r"^## (.*)$", text, re.MULTILINE) == [*sections, "Acknowledgements", "References"]
    pictures = re.findall(r"!\[(.+)\]\((.+)\)", text)
    assert len(pictures) >= 6
    for alt, address in pictures:
        content = (written / "report" / address).read_bytes()
        assert alt and content.startswith(b"\x89PNG") and b"Description\0" in content
    assert [int(n) for n in re.findall(r"^\*Figure (\d+)\.", text, re.MULTILINE)] == list(range(1, len(pictures) + 1))
    assert {int(n) for n in re.findall(r"\(figure (\d+)\)", text)} <= set(range(1, len(pictures) + 1))
    assert not re.search(r"\bnan\b|\bNone\b|\binf\b|{{|{%|  ", text)


def test_the_page_has_the_figures_and_tables_of_the_article(written, text):
    page = (written / "report" / "blog_post.html").read_text("utf-8")
    assert re.findall(PICTURE, page) == re.findall(r"!\[.+\]\((.+)\)", text)
    assert (page.count("<h1>"), page.count("<h2>")) == (1, 7)
    tables = len(re.findall(r"^\|---", text, re.MULTILINE))
    assert page.count('<div class="scroll"><table>') == page.count("</table></div>") == tables >= 4


def test_markup_in_a_record_stays_text():
    def change(record):
        record.dataset["description"], record.machine["cores"] = "<script>alert(1)</script> JPEG", "</title><script>"

    text = altered(change)
    assert "</title><script>" in text.splitlines()[0] and "<script>alert" in text and "<script" not in page(text)


def test_the_tables_of_the_readme_are_written_between_their_markers(written):
    text = (written / "README.md").read_text("utf-8")
    assert "\nold\n" not in text and text.count("\n|---|") == 4


def test_a_readme_without_a_place_for_the_tables_is_left_as_it_is(tmp_path, monkeypatch):
    monkeypatch.setattr(report, "draw_figures", lambda *_: {})
    (tmp_path / "README.md").write_text("# A readme", "utf-8")
    lines = []
    write_report(STUDY, RUNS, str(tmp_path), log=lines.append)
    assert "README.md has no line <!-- results -->" in lines[0]
    assert (tmp_path / "README.md").read_text("utf-8") == "# A readme"


def test_a_marker_that_is_missing_is_an_error_before_anything_is_written(tmp_path):
    (tmp_path / "README.md").write_text("<!-- results -->\n", "utf-8")
    with pytest.raises(UserError, match="must have the lines"):
        write_report(STUDY, RUNS, str(tmp_path))
    assert os.listdir(tmp_path) == ["README.md"]


def test_the_version_for_other_editors_has_no_tables_and_embedded_figures(written, text):
    folder = written / "report" / "medium"
    page = (folder / "blog_post.html").read_text("utf-8")
    files = sorted(path.name for path in folder.glob("*.png"))
    assert "<table" not in page
    for picture, file in zip(re.findall(PICTURE, page), files, strict=True):
        kind, _, content = picture.partition(",")
        assert kind == "data:image/png;base64" and base64.b64decode(content) == (folder / file).read_bytes()
        assert f"[Insert {file} here]" in page
    for cell in re.findall(r"^\| [^|]+ \| ([^|]+) \|", text, re.MULTILINE):
        assert re.sub("[*`]", "", cell) in re.sub("</?code>", "", page), "a number of a table is missing"


def test_the_gain_is_that_of_the_records_and_names_its_opponent():
    def change(record):
        if record.config["preset"] == "cifar10-best":  # the long recipe stays ahead of the short one
            set_accuracy(record, 0.9)
        elif headline(record) or headline(record, "baseline"):
            set_accuracy(record, 0.8123 if headline(record) else 0.6012)

    text = altered(change, keep=against_the_tutorial_cnn)
    text = text[: text.index("### Which claims hold")]
    assert "81.2 % (" in text and "60.1 % (" in text
    gains = [line for line in text.splitlines() if "+21.1 points" in line]
    assert len(gains) == 2 and all("over the tutorial CNN" in line for line in gains)


@pytest.mark.parametrize(
    ("met", "change", "sentence"),
    [
        (headline, lambda record: record.timing_sec.update(total=4000.0), "took less than half the time"),
        (
            lambda record: record.config["epochs_stage2"] == 30 and record.config["patience"] == 0,
            lambda record: record.curves["stage2"]["val_loss"].__setitem__(0, 0.1),
            "On these curves the dip lasts",
        ),
        (
            lambda record: record.config["epochs_stage2"] == 30 and record.config["patience"] == 5,
            lambda record: record.curves["stage2"]["val_loss"].__setitem__(slice(9), [9.0] * 9),
            "differ in one more thing",
        ),
        (
            lambda record: record.config.get("min_steps"),
            lambda record: (record.config.update(min_steps=0), record.metrics.update(train_end2end=0.99)),
            "still learning",
        ),
    ],
)
def test_a_sentence_that_no_longer_fits_its_numbers_is_an_error(met, change, sentence):
    with pytest.raises(UserError, match=f"no longer bear out .*{sentence}"):
        altered(lambda record: change(record) if met(record) else None)


def test_sentences_that_do_not_fit_their_numbers_are_left_out_of_the_report_without_a_gap_and_named(
    tmp_path, monkeypatch, text
):
    holds = facts.holds
    monkeypatch.setattr(facts, "holds", lambda condition, caller, unsupported: holds(False, caller, unsupported))
    monkeypatch.setattr(report, "draw_figures", lambda *_: {})
    lines = []
    write_report(STUDY, RUNS, str(tmp_path), log=lines.append)
    shorter = (tmp_path / report.ARTICLE).read_text("utf-8")
    left_out = [line.partition(" bear it out: ")[2] for line in lines if "bear it out" in line]
    assert len(left_out) >= 10 and all(sentence in text and sentence not in shorter for sentence in left_out)
    assert not re.search(r"(?m)^ |  | $", shorter)


def test_without_a_gain_the_article_says_so():
    runs = committed()
    for run in runs:
        if headline(run.record):
            set_accuracy(run.record, 0.5)
        elif run.record.config["n_unfreeze"] == 60:
            set_accuracy(run.record, 0.6)
    results = collect(load_study(STUDY), runs)
    assert re.search(r"With all labels, \*\*−\d+\.\d points .*\*\* over the best", " ".join(facts.headline(results)))
    text = article(results, [].append)
    assert "Transfer learning is less accurate than the compact CNN: the difference is −" in text
    assert "Not every step to more unfrozen layers is shown to gain: " in text and "unfreeze many layers" not in text


def test_one_seed_is_enough_for_an_article():
    text = altered(keep=lambda record: record.config["seed"] == 0, unsupported=[].append)
    assert "Without early stopping, one run was trained for all its 30 epochs. On its curve" in text
    assert "On this curve the dip lasts 7 epochs." in text and "outlasts the first dip" in text
    assert not re.search(r"(?m)^ |  | $|\b1 (runs|seeds)\b", text)


@pytest.mark.parametrize(("status", "loss", "collapses"), [("completed", 1.0, False), ("diverged", None, True)])
def test_a_collapse_is_reported_only_if_there_was_one(status, loss, collapses):
    def change(record: RunRecord) -> None:
        if record.config["learning_rate_stage2"] == 1e-2 and record.config["dataset"] == "cifar10":
            record.status = status
            record.curves["stage2"]["loss"].append(loss)  # null after an epoch whose loss was not finite

    text = altered(change)
    assert ("the network *collapses*: its training loss ends at 2.3" in text) == collapses
    assert ("**Learning rate.** At 1e-05 the network learns too little" in text) != collapses
    assert ("two failures" in text) == collapses


def test_patience_is_replayed_on_the_seeds_that_came_to_their_end():
    def diverge(record: RunRecord) -> None:
        if record.config["epochs_stage2"] == 30 and record.config["patience"] == 0 and record.config["seed"] == 1:
            record.status, record.curves = "diverged", {"stage1": record.curves["stage1"]}

    assert "Without early stopping, 2 runs that differ in nothing but the seed" in altered(diverge)


def test_other_rates_with_few_labels_are_reported_if_there_are_any(text):
    assert "no other rate is better for the compact CNN" in text
    larger = "So with 20 labels a better rate may make the gain over the compact CNN larger (one seed)"
    assert larger in text

    def improve_compact(record: RunRecord) -> None:
        if at_another_rate(record) and record.config["baseline"] == "compact":
            set_accuracy(record, 0.9)

    assert larger not in altered(improve_compact)
    without = altered(keep=lambda record: not at_another_rate(record))
    assert "No rate was tuned with few labels." in without and "Others were tried" not in without


def test_runs_on_the_originals_are_left_out_and_not_said_to_be_missing(text):
    original = committed()[-1]
    original.record.dataset["description"] = "CIFAR-10"
    missing = "; no run on the originals is on record"
    more = [Run(original.record, Path("9999-original/run.json"))]
    assert missing in text and altered(more=more) == text.replace(missing, "")


@pytest.mark.parametrize(
    ("n_unfreeze", "sides"), [(91, "96 to 128 px, the last 91 layers"), (0, "128 px, backbone frozen")]
)
def test_a_recipe_names_the_sides_at_which_stage_2_trains(n_unfreeze, sides):
    config = preset("cifar10", views=0, image_size_start=96, n_unfreeze=n_unfreeze)
    each = Configuration(config, {0: Run(RunRecord(config=config.model_dump()), Path("run.json"))})
    assert facts.recipe(each) == f"solved head, {sides}"


def test_a_ratio_with_an_interval_stays_a_ratio():
    assert facts._measured(Estimate(3.5, 3.0, 3.9, 3), "×") == "3.5 × (3.0–3.9), 3 seeds"
    assert facts._measured(Estimate(39.6, 39.3, 39.8, 3), "%") == "39.6 % (39.3–39.8), 3 seeds"
    assert facts._measured(Estimate(0.6, -np.inf, np.inf, 1), "×") == "0.6 ×, 1 run"
    assert facts._value("weights_of_cnn", None) == "–", "a record may lack the number"


def opponents(kind: str, accuracy: float) -> list[Run]:
    """Return a run of another opponent with all labels, made from that of the tutorial CNN."""
    made = [run for run in committed() if against_the_tutorial_cnn(run.record)]
    run = next(run for run in reversed(made) if headline(run.record, "baseline"))
    options = {"baseline": "compact"} if kind == "compact" else {"model": "transfer", "weights": "random"}
    run.record.config |= options
    set_accuracy(run.record, accuracy)
    return [Run(run.record, Path(f"9999-{kind}/run.json"))]


def test_every_opponent_on_record_has_its_column_and_the_best_one_the_abstract():
    without = altered(keep=against_the_tutorial_cnn)
    assert "No run is on record of the same network from random weights" in without
    assert "This opponent is weak" in without
    text = altered(more=opponents("compact", 0.82) + opponents("random", 0.70), keep=against_the_tutorial_cnn)
    abstract = text[: text.index("## Introduction")]
    assert "The best opponent on record, the compact CNN, is trained from scratch and reaches 82.0 %" in abstract
    assert re.search(r"Transfer learning gains \+\d\.\d points \(.*?\) over the compact CNN", abstract)
    assert "is weak" not in abstract and "No run is on record" not in abstract
    columns = "labels per class | transfer learning | same network from random weights | compact CNN | tutorial CNN"
    assert f"| {columns} | gain over the best opponent |" in text


def test_runs_on_a_gpu_have_no_row_in_the_table_of_times(text):
    def on_a_gpu(record):
        if record.config.get("weights") == "random":
            record.machine["gpus"] = ["gpu:0"]

    row = "| same network from random weights | 10 epochs at "
    assert row in text and row not in altered(on_a_gpu)


def test_runs_with_few_labels_on_a_gpu_are_said_to_be(text):
    def without_gpu(record):
        if record.config.get("min_steps"):
            record.machine["gpus"] = []

    assert "every model was trained for 4,000 steps, the same network from random weights partly on a GPU." in text
    assert "was trained for 4,000 steps. " in altered(without_gpu)


def test_a_side_that_ran_on_a_gpu_alone_has_no_time_and_leaves_its_place_in_the_figure_to_one_that_has(results):
    runs, best = committed(), sides(results)["random"]
    for run in runs:
        if run.path in {each.path for each in best.runs.values()}:
            run.record.machine["gpus"] = ["gpu:0"]
    results = collect(load_study(STUDY), runs)
    side, clocked = sides(results)["random"], timed(results)["random"]
    assert side is not clocked and np.isnan(side.seconds) and clocked.seconds > 0
    assert side.accuracy().mean > clocked.accuracy().mean
    assert "epochs, transfer learning gains" in article(results), "no time where there is none"


def test_every_side_is_said_to_have_had_its_number_of_settings(results, text):
    for kind, side in sides(results).items():
        alike = [each.config for each in results.pool if (each.kind, each.config.labels_per_class) == (side.kind, 0)]
        assert 6 <= tries(results, side) <= len(alike)
        [line] = [line for line in text.splitlines() if line.startswith(f"- {MODEL_NAMES[kind]}")]
        assert f", the best of {tries(results, side)} settings of learning rate and length" in line


def test_a_run_of_another_study_is_no_try_of_a_side(results):
    transfer = sides(results)["transfer"]
    [again] = [run for run in committed() if run.path == transfer.runs[0].path]
    again.record.config |= {"epochs_stage2": 3 * transfer.epochs}
    more = collect(load_study(STUDY), [*committed(), again])
    assert tries(more, sides(more)["transfer"]) == tries(results, transfer)


def test_who_used_validation_labels_or_too_few_steps_with_few_labels_is_said(text):
    assert "No run chose its epoch or its L2 on validation labels." in text
    assert "was trained for 4,000 steps" in text and "flatter transfer learning" not in text
    hurried, fitted = altered(as_before), altered(well_fitted, unsupported=[].append)
    assert "too few training steps" in hurried and "too few training steps" not in fitted
    assert "flatter transfer learning" in hurried and "All runs with few labels also used" in hurried
    older = altered(lambda record: as_before(record) if model_kind(record.config) == "transfer" else None)
    assert "The runs of transfer learning with few labels also used 10,000 labelled validation images" in older
    others = "compact CNN, tutorial CNN and same network from random weights"
    assert f"The runs of the {others} used none and kept the last epoch." in older


def test_a_collapsed_setting_is_not_a_point_at_the_accuracy_of_its_head(results):
    [row] = [row for row in facts.setting_rows(results) if "Which learning rate" in row[0]]
    assert re.search(r"learning rate 0.01: 10.0 % \(.*\) \(collapsed\)", row[1])
    diverged = Run(RunRecord(status="diverged"), Path("run.json"))
    assert facts._note(Configuration(preset("cifar10"), {0: diverged})) == " (diverged)"


def test_a_group_without_all_its_runs_is_left_out_and_named(tmp_path):
    def others(record):
        return record.config.get("n_unfreeze") != 10

    text = altered(keep=others)
    assert "**Depth.**" not in text and "Runs are missing for: depth." in text
    lines = []
    for run in committed():
        if others(run.record):
            shutil.copytree(run.folder, tmp_path / "runs" / run.name)
    damaged = tmp_path / "runs" / "damaged" / "run.json"
    damaged.parent.mkdir()
    damaged.write_text("{")
    write_report(STUDY, str(tmp_path / "runs"), str(tmp_path / "out"), log=lines.append)
    assert any(line.startswith(f"{damaged} cannot be read (not JSON") for line in lines)
    elsewhere = ["--output_dir", str(tmp_path / "runs"), "--data_dir", "data/cifar10"]  # other runs would not count
    again = command_line(["transfer-utils", "sweep", STUDY, "--groups", "depth", *elsewhere])
    assert f"Run `{again}`" in lines[-1]
    assert "`transfer-utils sweep studies/six_stages.yaml --groups depth --data_dir data/cifar10`" in text
    assert not any("README" in line for line in lines), "there is none"
    assert not (tmp_path / "out" / "figures" / "unfreezing_depth.png").exists()


def test_without_the_headline_the_error_names_its_command():
    with pytest.raises(UserError, match="Run `transfer-utils compare --preset cifar10 --data_dir data/cifar10` first"):
        altered(keep=lambda record: not headline(record))


def test_an_undefined_name_in_the_template_is_an_error():
    with pytest.raises(jinja2.UndefinedError):
        environment().from_string("{{ nothing }}").render()


def test_the_command_writes_the_same_report_again_without_tensorflow(tmp_path, written):
    script = (
        "import sys; from transfer_utils.cli import main; status = main(sys.argv[1:]); "
        "sys.exit(status or (3 if 'tensorflow' in sys.modules or 'keras' in sys.modules else 0))"
    )
    (tmp_path / "README.md").write_text(README, "utf-8")
    arguments = ["report", "--study", STUDY, "--runs", RUNS, "--output_dir", str(tmp_path), "--medium"]
    done = subprocess.run([sys.executable, "-c", script, *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "planned runs" in done.stdout
    files = {path.relative_to(tmp_path): path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert files == {path.relative_to(written): path.read_bytes() for path in written.rglob("*") if path.is_file()}
    figures = len(list((written / "figures").iterdir()))
    assert len(files) == figures + 3 + figures + 1  # article, page and README; the version without tables
    assert main(["report", "--runs", "nowhere", "--study", STUDY]) == 2


def test_the_committed_text_is_that_of_the_committed_records(text, results):
    assert article(results) == text, "the records bear out every sentence of the template"
    assert (ROOT / report.ARTICLE).read_text("utf-8") == text, "stale: run `transfer-utils report`"
    assert (ROOT / report.PAGE).read_text("utf-8") == page(text), "stale: run `transfer-utils report`"
    readme = (ROOT / report.README).read_text("utf-8")
    assert report.readme(readme, results, Listing(committed())) == readme, "stale: run `transfer-utils report`"
    for picture in re.findall(r"!\[.+\]\((.+)\)", text):
        assert (ROOT / "report" / picture).is_file()


def test_the_headline_names_a_grid_and_a_longer_recipe_only_where_there_are_some():
    recipes = preset("cifar10"), preset("cifar10-fast"), preset("cifar10", model="baseline", baseline="compact")
    wanted = [identity(recipe) for recipe in recipes]
    runs = [run for run in committed() if identity(run.record.config) in wanted]
    for each in runs:
        if each.record.config["preset"] == "cifar10-fast":
            set_accuracy(each.record, 0.9)
    text = " ".join(facts.headline(collect(load_study(STUDY), runs)))
    assert "90.0 %" in text and "longer" not in text and "of its grid" not in text


def test_with_few_labels_a_gain_must_be_shown():
    def worse(record):
        config = record.config
        if config.get("labels_per_class") == 5 and config["model"] == "transfer" and config["weights"] == "imagenet":
            set_accuracy(record, 0.15)

    with pytest.raises(UserError, match=r"no longer bear out .*pretraining is worth accuracy where labels are few"):
        altered(worse)


def test_a_damaged_record_is_named():
    def damage(record):
        if record.config["epochs_stage2"] == 30 and record.config["patience"] == 0 and record.config["seed"] == 0:
            record.curves["stage2"]["val_loss"][2] = None

    with pytest.raises(UserError, match=r"time of [^:]+run\.json is missing or damaged: train it again") as raised:
        altered(damage)
    assert str(raised.value).count("run.json") == 1, "the others are sound"


def test_one_seed_that_fell_back_is_not_the_whole_setting():
    def note(*fates):
        setting = configuration(*[0.7] * len(fates))
        for fate, record in zip(fates, setting.records, strict=True):
            record.network = {"weights_from": "stage1" if fate else "stage2"}
        return facts._note(setting)

    assert note(1, 0, 0) == " (never better than its head: 1 of 3 seeds)"
    assert note(1, 1) == " (never better than its head)" and note(0, 0) == ""


def test_the_runs_that_the_error_names_are_enough_for_an_article():
    recipes = [identity(preset("cifar10", model=model)) for model in ("transfer", "baseline")]
    text = altered(keep=lambda record: identity(record.config) in recipes)
    assert "over the tutorial CNN (1 run)" in text
    assert "A longer recipe" not in text and "so many minutes" not in text


def test_a_longer_recipe_is_described_as_its_records_are(text):
    def of_longest(change):
        return altered(lambda record: change(record) if record.config["preset"] == "cifar10-best" else None)

    assert "is more accurate: it takes" in text and "If it averages several views" in text
    equal = of_longest(lambda record: samples.set_accuracy(record, 0.863, record.dataset["images"]["test"], "test"))
    assert "is not shown to be more accurate on test: it takes" in equal
    without_views = of_longest(lambda record: (record.config.update(tta=False), record.metrics.pop("test_tta", None)))
    assert "A longer recipe" in without_views and "If it averages" not in without_views
    assert "trained that long" in text and "so many minutes" in text
    hasty = of_longest(lambda record: record.timing_sec.update(total=500.0))
    assert "trained that long" not in hasty and "so many minutes" not in hasty


def test_decided_claims_are_counted(monkeypatch):
    evaluate = report.claims.evaluate_claims

    def with_one_confirmed(results: Results) -> list:
        first, *others = evaluate(results)
        return [first._replace(verdict="confirms"), *others]

    monkeypatch.setattr(report.claims, "evaluate_claims", with_one_confirmed)
    text = altered()
    assert "Of these claims, our runs confirm 1 and contradict 0. `transfer-utils train" in text
    assert "decide none of these" not in text


def test_the_backend_of_runs_on_a_gpu_is_the_recorded_one(text):
    assert "made on a GPU with Keras's PyTorch backend;" in text
    other = altered(lambda record: record.network.update(backend="tensorflow"))
    assert "made on a GPU with Keras's TensorFlow backend;" in other


def test_an_article_on_runs_with_a_gpu_alone_does_not_speak_of_cores():
    text = altered(lambda record: record.machine.update(gpus=["cuda:0"]), keep=against_the_tutorial_cnn)
    assert "Transfer learning on a GPU, with" in text and "**Machine.** A GPU, " in text and "CPU core" not in text


def test_a_time_on_another_machine_names_its_cores(text):
    def elsewhere(record):
        if record.config["model"] == "baseline":
            record.machine["cores"] = 16

    other = altered(elsewhere, keep=against_the_tutorial_cnn)
    assert re.search(r"is trained from scratch and reaches .* on 16 CPU cores\.", other)
    assert re.search(r"\| tutorial CNN \| .* \| [^|]+ on 16 cores \|", other) and "on 16 cores" not in text
    assert "transfer learning matches the highest validation accuracy" not in other


def test_augmentation_is_judged_by_pairs_that_differ_in_it_alone():
    """The runs of the study of augmentation may be on record for other reasons: those of the preset are."""
    both = [made(seed, 0.7 + 0.1 * augment, str(augment), augment=augment) for augment in (0, 1) for seed in range(3)]
    for each in both:
        each.record.timing_sec, each.record.machine = {"total": 60.0}, {"cores": 2}
    others = [made(3, 0.9, "unpaired"), made(0, 0.9, "longer", augment=True, epochs_stage2=12)]
    study, gain, times = load_study(STUDY), "+10.0 points (+10.0 to +10.0)", "1 min 00 s, 1 min 00 s"
    assert facts.augmentation_rows(augmentation(collect(study, [*both, *others]))) == [
        ["2,500", "40", "0.001", "70.0 % (70.0–70.0)", "80.0 % (80.0–80.0)", gain, times, "3 seeds"]
    ]
    assert facts.augmentation_rows(augmentation(collect(study, both[3:]))) == []


def test_a_gain_on_augmented_images_outside_the_grid_is_named(text):
    """The grid of transfer learning has plain images: that it shows no gain is not all that the records say."""
    grid = "Outside the grid of transfer learning, whose images are plain while the CNNs' are augmented"
    assert f"{grid}, 12 epochs on augmented" in text
    less = altered(keep=lambda record: (record.config.get("epochs_stage2"), record.config.get("augment")) != (12, True))
    assert "no gain is shown between the best settings of the grids" in less and grid not in less
