"""The report: its numbers come from records, a missing number is an error, the same records give the same bytes."""

import base64
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace

import jinja2
import pytest
import yaml

from tests.conftest import ROOT
from tests.report_samples import diverge, records_in, set_accuracies, set_last, write_planned
from transfer_utils.cli.main import main
from transfer_utils.errors import UserError
from transfer_utils.records import Run, RunRecord, load_runs, read_record
from transfer_utils.report import article as report
from transfer_utils.report import facts
from transfer_utils.report.article import article, page, read_results, write_report
from transfer_utils.report.readme import with_tables
from transfer_utils.results.summary import Configuration, collect
from transfer_utils.studies.spec import load_study

SIX_STAGES = str(ROOT / "studies" / "six_stages.yaml")
README = """# A page
<!-- results -->
<!-- /results -->
<!-- study -->
old
<!-- /study -->
<!-- verdicts -->
<!-- /verdicts -->
"""


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> Path:
    """Return a folder with every planned run of the project's study; tests must not change it."""
    study = load_study(SIX_STAGES, data_dir="data/cifar10")
    return write_planned(tmp_path_factory.mktemp("study"), study)


@pytest.fixture(scope="module")
def written(runs, tmp_path_factory) -> Path:
    """Return a folder with the complete report of these runs."""
    folder = tmp_path_factory.mktemp("report")
    (folder / "README.md").write_text(README, "utf-8")
    write_report(SIX_STAGES, str(runs), str(folder), medium=True, log=lambda line: None)
    return folder


@pytest.fixture
def copied(runs, tmp_path) -> Path:
    """Return a copy of the runs that a test may change."""
    return Path(shutil.copytree(runs, tmp_path / "copied"))


def article_of(folder: Path, study: str = SIX_STAGES) -> str:
    return article(read_results(study, str(folder))[0])


def alter(folder: Path, change) -> Path:
    """Let ``change`` alter every record of a folder."""
    for path in records_in(folder):
        record = read_record(path)
        change(record)
        record.save(path)
    return folder


def trimmed(tmp_path: Path, *groups: str) -> str:
    """Write a study with only some groups of the project's study; return its path."""
    content = yaml.safe_load(Path(SIX_STAGES).read_text("utf-8"))
    content["groups"] = [group for group in content["groups"] if group["name"] in groups]
    content.pop("presets", None)
    (tmp_path / "trimmed.yaml").write_text(yaml.safe_dump(content), "utf-8")
    return str(tmp_path / "trimmed.yaml")


class Parts(HTMLParser):
    """The pictures, headings and tables of a page, whose tags must be closed in order."""

    def __init__(self, text: str):
        super().__init__()
        self.pictures, self.headings, self.tables, self._open = [], [], 0, []
        self.feed(text)
        assert not self._open

    def handle_starttag(self, tag, attributes):
        if tag == "img":
            self.pictures.append(dict(attributes))
        self.headings += [tag] if tag in ("h1", "h2", "h3") else []
        self.tables += tag == "table"
        if tag not in ("img", "meta", "br", "hr", "link"):
            self._open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)

    def handle_endtag(self, tag):
        assert self._open.pop() == tag


def test_writing_the_report_again_changes_nothing(runs, written):
    before = {path: path.read_bytes() for path in written.rglob("*") if path.is_file()}
    write_report(SIX_STAGES, str(runs), str(written), medium=True, log=lambda line: None)
    assert {path: path.read_bytes() for path in written.rglob("*") if path.is_file()} == before
    assert len(before) == 12 + 3 + 13  # figures; article, page and README; the version without tables


def test_the_article_has_the_sections_of_a_paper_and_numbered_figures(written):
    text = (written / "report" / "blog_post.md").read_text("utf-8")
    sections = re.findall(r"^## (.*)$", text, re.MULTILINE)
    parts = [
        "Abstract",
        "Introduction",
        "Materials and Methods",
        "Results",
        "Discussion",
        "Acknowledgements",
        "References",
    ]
    assert sections == parts
    pictures = re.findall(r"!\[(.+)\]\((.+)\)", text)
    assert len(pictures) >= 6
    for alt, address in pictures:
        content = (written / "report" / address).read_bytes()
        assert alt and content.startswith(b"\x89PNG") and b"Description\0" in content
    assert [int(n) for n in re.findall(r"^\*Figure (\d+)\.", text, re.MULTILINE)] == list(range(1, len(pictures) + 1))
    assert {int(n) for n in re.findall(r"\(figure (\d+)\)", text)} <= set(range(1, len(pictures) + 1))


def test_the_page_has_the_figures_and_tables_of_the_article(written):
    parts = Parts((written / "report" / "blog_post.html").read_text("utf-8"))
    text = (written / "report" / "blog_post.md").read_text("utf-8")
    assert [picture["src"] for picture in parts.pictures] == re.findall(r"!\[.+\]\((.+)\)", text)
    assert parts.headings.count("h2") == 7 and parts.headings.count("h1") == 1
    assert parts.tables == len(re.findall(r"^\| ---", text, re.MULTILINE)) == 6


def test_markup_in_a_record_stays_text(copied):
    alter(copied, lambda record: record.dataset.update(description="<script>alert(1)</script>"))
    assert "<script" not in page(article_of(copied))


def test_the_tables_of_the_readme_are_written_between_their_markers(written):
    text = (written / "README.md").read_text("utf-8")
    assert "\nold\n" not in text
    assert "| learning rate of stage 2 |" in text and "| **confirms** |" in text
    assert with_tables(text, {}) == text
    with pytest.raises(UserError, match="verdicts"):
        with_tables("nothing", {"verdicts": ""})


def test_the_version_for_other_editors_has_no_tables_and_embedded_figures(written):
    folder = written / "report" / "medium"
    text = (folder / "blog_post.html").read_text("utf-8")
    parts = Parts(text)
    files = sorted(path.name for path in folder.glob("*.png"))
    assert not parts.tables and len(parts.pictures) == len(files) == 12
    for picture, file in zip(parts.pictures, files, strict=True):
        kind, _, content = picture["src"].partition(",")
        assert kind == "data:image/png;base64" and base64.b64decode(content) == (folder / file).read_bytes()
        assert f"[Insert {file} here]" in text
    for cell in re.findall(r"^\| [^|]+ \| ([^|]+) \|", (written / "report" / "blog_post.md").read_text("utf-8"), re.M):
        assert cell.strip("*") in text or cell == "---", "a number of a table is missing"


def test_the_accuracies_of_the_headline_are_those_of_the_records(copied):
    def change(record):
        if not record.config["labels_per_class"] and record.config["augment"]:
            model = record.config["model"]
            set_accuracies(record, test=0.8123 if model == "transfer" else 0.6012, val=0.8, test_tta=0.8231)

    text = article_of(alter(copied, change))
    for expected in ("81.2 % of 10,000 test images right", "60.1 %", "82.3 % (", "+21.1 points ("):
        assert expected in text


OUTCOMES = {
    "the pretrained network loses": (
        lambda record: set_accuracies(record, test=0.5 if record.config["model"] == "transfer" else 0.7),
        ("The head start did not pay here", "The pretrained network does not win", "measure the baseline"),
    ),
    "nothing makes a difference": (
        lambda record: set_accuracies(record, val=0.7, test=0.7),
        ("cannot be told from none", "end close together", "which these runs cannot tell from nothing"),
    ),
    "transfer never catches up": (
        lambda record: (
            [stage["val_accuracy"].__setitem__(slice(None), [0.1] * 9) for stage in record.curves.values()]
            if record.config["model"] == "transfer" and not record.config["labels_per_class"]
            else None
        ),
        ("it did not reach what the CNN became", "never reaches the CNN's best"),
    ),
    "the standard rate forgets": (
        lambda record: set_last(record, stage2=0.2) if record.config["learning_rate_stage2"] == 1e-3 else None,
        ("it has lost more than it learned", "the very low rate is the better one"),
    ),
    "a learning rate diverges": (
        lambda record: diverge(record) if record.config["learning_rate_stage2"] == 1e-2 else None,
        ("In 1 of them the loss became infinite", "the worst 0.01, with 10.0 %"),
    ),
    "no epoch at a learning rate is better than chance": (
        lambda record: (
            (
                set_accuracies(record, val=0.5),
                record.curves["stage2"].__setitem__("val_accuracy", [0.1] * len(record.curves["stage2"]["val_loss"])),
            )
            if record.config["learning_rate_stage2"] == 1e-2
            else None
        ),
        ("the worst 0.01, with 50.0 %", "At 0.01 no epoch of fine-tuning was better than 10.0 %"),
    ),
    "the aggressive fine-tuning diverges": (
        lambda record: diverge(record) if record.config["batch_norm"] == "trained" else None,
        ("it has lost more than it learned", "They count as guessing"),
    ),
    "early stopping never stops": (
        lambda record: (
            [values.__setitem__(slice(None), [0.6] * 30) for values in record.curves["stage2"].values()]
            if record.config["epochs_stage2"] == 30
            else None
        ),
        ("after 30 epochs instead of 30, which saves none",),
    ),
    "early stopping ends in the dip": (
        lambda record: (
            [values.__delitem__(slice(5, None)) for values in record.curves["stage2"].values()]
            if record.config["epochs_stage2"] == 30 and record.config["patience"] == 5
            else None
        ),
        ("after 5 epochs instead of 30", "the head alone is what remained"),
    ),
    "the head learns its images and nothing else": (
        lambda record: (
            record.curves["stage1"]["val_loss"].__setitem__(slice(None), [1.0] * 30)
            if record.config["head"] == "plain" and record.config["epochs_stage1"] == 30
            else None
        ),
        ("validation neither gains by it nor",),
    ),
}


@pytest.mark.parametrize("name", OUTCOMES)
def test_the_text_follows_from_the_outcome(copied, name):
    change, sentences = OUTCOMES[name]
    text = article_of(alter(copied, change))
    for sentence in sentences:
        assert sentence in text
    assert not re.search(r"\bnan\b|\bNone\b|\binf\b|{{|{%", text)


def test_missing_seeds_are_reported(copied):
    for path in records_in(copied):
        if read_record(path).config["seed"] == 1:
            shutil.rmtree(path.parent)
    text = article_of(copied)
    assert re.search(r"\d+ of the \d+ planned runs are on record", text) and "| 2 seeds |" in text


def test_a_study_with_only_the_headline_gives_an_article(runs, tmp_path):
    study = trimmed(tmp_path, "headline")
    write_report(study, str(runs), str(tmp_path / "out"), log=lambda line: None)
    text = (tmp_path / "out" / "report" / "blog_post.md").read_text("utf-8")
    assert len(re.findall(r"!\[", text)) == 5 == len(list((tmp_path / "out" / "figures").iterdir()))
    assert "How deep" not in text and text.count("the study does not ask") == 5
    assert not (tmp_path / "out" / "README.md").exists()


@pytest.mark.parametrize("group", ["frozen", "depth", "aggressive", "label_efficiency", "image_size", "early_stopping"])
def test_each_group_of_the_study_may_be_left_out(runs, tmp_path, group):
    others = [other.name for other in load_study(SIX_STAGES).groups if other.name != group]
    assert "## Discussion" in article_of(runs, trimmed(tmp_path, *others))


@pytest.mark.parametrize(
    ("group", "gone", "named"),
    [
        ("headline", lambda c: c["model"] == "baseline" and not c["labels_per_class"], "model=baseline"),
        ("frozen", lambda c: c["epochs_stage1"] == 30, "its options"),
        ("depth", lambda c: c["n_unfreeze"] == 10, "n_unfreeze=10"),
        ("mixup", lambda c: c["use_mixup"], "use_mixup=True"),
        ("image_size", lambda c: c["image_size"] in (128, 224), "image_size=128 or image_size=224"),
    ],
)
def test_a_missing_run_is_an_error_that_names_it(copied, group, gone, named, tmp_path):
    for path in records_in(copied):
        if gone(read_record(path).config):
            shutil.rmtree(path.parent)
    with pytest.raises(UserError) as caught:
        write_report(SIX_STAGES, str(copied), str(tmp_path / "out"), log=lambda line: None)
    assert f"group {group} with {named}" in str(caught.value)
    assert f"`transfer-utils sweep {SIX_STAGES} --groups {group}`" in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_an_interrupted_run_does_not_count(copied):
    def change(record):
        if record.config["use_mixup"]:
            record.status = "interrupted"

    with pytest.raises(UserError, match="group mixup with use_mixup=True"):
        article_of(alter(copied, change))


def test_all_labels_come_last_although_the_option_is_0():
    pairs = [(model, n) for n in (0, 20, 5) for model in ("transfer", "baseline")]
    configurations = [SimpleNamespace(config=SimpleNamespace(model=model, labels_per_class=n)) for model, n in pairs]
    assert list(facts._by_labels(SimpleNamespace(configurations={"label_efficiency": configurations}))) == [5, 20, 0]


@pytest.mark.parametrize("metric", ["val_end2end", "test_tta", "test_low"])
def test_a_missing_number_is_an_error(copied, metric):
    alter(copied, lambda record: record.metrics.pop(metric))
    with pytest.raises(UserError, match=f"must hold the metrics .*{metric}"):
        article_of(copied)


def test_a_study_without_headline_is_an_error(runs, tmp_path):
    study = load_study(trimmed(tmp_path, "depth"))
    with pytest.raises(UserError, match="must have a group headline"):
        collect(study, load_runs(runs).runs)


def test_another_dataset_is_an_error(copied):
    alter(copied, lambda record: record.dataset.update(name="photo-digits"))
    with pytest.raises(UserError, match=r"must use dataset cifar10.* got photo-digits"):
        article_of(copied)


def test_an_undefined_name_in_the_template_is_an_error():
    with pytest.raises(jinja2.UndefinedError):
        report._environment().from_string("{{ nothing }}").render()


def test_the_command_writes_the_report_without_tensorflow(runs, tmp_path):
    script = (
        "import sys; from transfer_utils.cli import main; status = main(sys.argv[1:]); "
        "sys.exit(status or (3 if 'tensorflow' in sys.modules or 'keras' in sys.modules else 0))"
    )
    arguments = ["report", "--study", SIX_STAGES, "--runs", str(runs), "--output_dir", str(tmp_path / "out")]
    done = subprocess.run([sys.executable, "-c", script, *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    planned = len(load_study(SIX_STAGES).planned())
    assert f"{planned} of {planned} planned runs" in done.stdout
    assert main(["report", "--runs", "nowhere", "--study", SIX_STAGES]) == 2


@pytest.mark.parametrize(
    ("options", "views"),
    [
        ({"tta": False}, 1),
        ({"tta": True}, 2),
        ({"tta": True, "tta_shift": 2}, 10),
        ({"tta": True, "horizontal_flip": False}, 5),
    ],
)
def test_the_time_per_image_of_an_older_record_follows_from_its_evaluation(options, views):
    """The evaluation classifies the unchanged image once, also for the averaged views."""
    record = RunRecord(config={"horizontal_flip": True, **options}, timing_sec={"evaluation": 3.0})
    record.dataset = {"images": {"train": 100, "validation": 40, "test": 60}}
    configuration = Configuration({}, load_study(SIX_STAGES).planned()[0].config, {0: Run(record, Path("run.json"))})
    assert configuration.milliseconds() == pytest.approx(3000 / (100 + views * 100))
    record.inference = {"images": 64, "seconds": 0.16}
    assert configuration.milliseconds() == pytest.approx(2.5), "a measured time takes precedence"


@pytest.mark.skipif(not (ROOT / report.ARTICLE).exists(), reason="the study is not on record yet")
def test_the_committed_text_is_that_of_the_committed_records():
    results, listing = read_results(SIX_STAGES, str(ROOT / "runs"))
    text = article(results)
    assert (ROOT / report.ARTICLE).read_text("utf-8") == text, "stale: run `transfer-utils report`"
    assert (ROOT / report.PAGE).read_text("utf-8") == page(text), "stale: run `transfer-utils report`"
    readme = (ROOT / report.README).read_text("utf-8")
    assert report.readme(readme, results, listing) == readme, "stale: run `transfer-utils report`"
    for picture in re.findall(r"!\[.+\]\((.+)\)", text):
        assert (ROOT / "report" / picture).is_file()
