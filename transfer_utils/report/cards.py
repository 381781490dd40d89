"""Model cards and data cards in Markdown, from a run record alone, with the metadata of Hugging Face's cards; and the
few rows of a card that stand on the page of a classifier.

The sections are those of Mitchell et al. (2019, arXiv 1810.03993) and Gebru et al. (2021, arXiv 1803.09010), as far as
a record can fill them; they list what it does not say.
"""

from __future__ import annotations

import os
import re
from pathlib import Path, PureWindowsPath
from typing import Any

import yaml

from transfer_utils.errors import UserError
from transfer_utils.evaluation.percent import percent, with_interval
from transfer_utils.records.folder import Run
from transfer_utils.records.record import LEFT_OUT, PRECISIONS, RECORD_NAME, RunRecord, read_record
from transfer_utils.records.salvage import UnreadableRecord
from transfer_utils.report.rendering import environment, tidy
from transfer_utils.results.curves import STAGE_NAMES, fell_back
from transfer_utils.results.formatting import duration, markdown_table
from transfer_utils.results.options import model_name
from transfer_utils.results.progress import repeat_command
from transfer_utils.results.table import METRICS_OF, Row
from transfer_utils.utils.files import write_bytes
from transfer_utils.utils.text import MAX_BLOCK, MISSING, as_label, as_text, counted, finite_number, format_bytes

MODEL_CARD, DATA_CARD = "model-card.md", "data-card.md"
MAX_LISTED_CLASSES, MAX_LENGTH = 50, 500  # classes that are named; characters of one text
USES = {"train": "training", "validation": "validation", "test": "the test"}  # of the splits
USED_FOR = USES | {"validation": "choices: epochs, L2, thresholds", "test": "the reported accuracy, read once"}
SIZES = ((10**3, "n<1K"), (10**4, "1K<n<10K"), (10**5, "10K<n<100K"), (10**6, "100K<n<1M"), (10**7, "1M<n<10M"))
# How the notes start that are not on the pictures, in all versions.
ON_TRAINING = ("Stage 2 ", "No epoch of the baseline ")
Rows = list[list[str]]


def write_cards(path: Path, output_dir: Path | None = None) -> list[Path]:
    """Write the model card and the data card of a run; return their paths.

    Args:
        path: the folder of a run, or its record.
        output_dir: by default the folder of the record.

    Raises:
        UserError: there is no record, or the run is not completed.
    """
    path = path / RECORD_NAME if path.is_dir() else path
    try:
        run = Run(read_record(path), Path(os.path.abspath(path)))  # named also from inside its folder
    except FileNotFoundError:
        raise UserError(
            f"RUN must be the folder of a run or its record, got {str(path)!r}, which is missing."
        ) from None
    except UnreadableRecord as error:
        raise UserError(f"{path} is not a run record: {error}") from None
    if run.record.status != "completed":
        raise UserError(f"A card needs a completed run; {run.name} is {run.record.status}.")
    folder = output_dir or path.parent
    cards = {folder / MODEL_CARD: model_card(run.record, run.name), folder / DATA_CARD: data_card(run.record)}
    for target, text in cards.items():
        write_bytes(target, text.encode())
    return list(cards)


def model_card(record: RunRecord, name: str) -> str:
    """Return the model card of a completed run as Markdown."""
    return _rendered("model_card.md.j2", record, name=name, front=_yaml(_model_metadata(record, name)))


def data_card(record: RunRecord) -> str:
    """Return the data card of a completed run as Markdown."""
    splits = [[split, f"{n:,}", USED_FOR[split]] for split, n in record.images.items()]
    pictures = [[row[0], row[-1]] for row in _per_class(record)]
    shown = {"name": _data_name(record), "front": _yaml(_data_metadata(record))}
    return _rendered("data_card.md.j2", record, splits=splits, pictures=pictures, **shown)


def short_card(
    record: RunRecord | None, size: int, side: int, not_sure_below: float, precision: str = ""
) -> list[tuple[str, str]]:
    """Return the rows of a card as pairs (what, value); without a record, what the model file itself says.

    The command is left out, which may name folders of the machine: the page of a classifier is made to be published.

    Args:
        size: of the model file, in bytes.
        side: of the images that it takes, in pixels.
        not_sure_below: the largest probability below which its answer is "not sure"; 0 if there is always an answer.
        precision: of the model file, if the run exported it: such a file has accuracies of its own.
    """
    rows = []
    if record is not None:
        row, images, measured = Row("", Run(record, Path())), record.images, precision or "end2end"
        rows = [
            ("Learned from", _data_name(record)),
            ("Pictures", ", ".join(f"{number:,} for {USES[split]}" for split, number in images.items() if number)),
            ("Network", _network(row)),
            ("Right on test pictures", with_interval(*record.bounded(f"test_{measured}"))),
            ("Right on validation pictures", with_interval(*record.bounded(f"val_{measured}"))),
            ("Trained", as_text(record.created[:10])),
        ]
    rows.append(("Takes", f"pictures of {side} × {side} pixels: the largest square in the middle, resized"))
    if not_sure_below:
        rows.append(("Not sure", f"if the largest probability is below {percent(not_sure_below)}"))
    rows.append(("File", f"LiteRT, {format_bytes(size)}"))
    return [(what, value) for what, value in rows if value not in ("", MISSING)]


def _network(row: Row) -> str:
    if row.from_scratch:
        return row.network
    # Of a user's own file of weights only the name: its folder is nobody's business. Windows' paths have both slashes.
    weights = as_text(PureWindowsPath(str(row.config.get("weights") or MISSING)).name, 40)
    parameters = finite_number(row.record.network.get("parameters"))
    parts = [row.network, f"{weights} weights" if weights != MISSING else ""]
    parts.append(counted(round(parameters), "parameter") if parameters else "")
    return ", ".join(part for part in parts if part not in ("", MISSING))


def _rendered(template: str, record: RunRecord, **values: Any) -> str:
    templates = environment()
    templates.filters |= {"md": _md, "percent": percent, "duration": duration}
    templates.globals |= {"table": markdown_table, "with_interval": with_interval, "counted": counted}
    shown = {
        "record": record,
        "images": record.images,
        "classes": _class_names(record),
        "n_classes": len(record.class_names),
        "kind": model_name(record.config),
        "details": _details(record),
        "results": _results(record),
        "per_class": _per_class(record),
        "notes": [note for note in record.notes if not note.startswith((LEFT_OUT, *ON_TRAINING))],
        "unmeasured": _unmeasured(record),
        "command": as_text(repeat_command(record), MAX_BLOCK),
    }
    return tidy(templates.get_template(template).render(shown | values))


def _model_metadata(record: RunRecord, name: str) -> dict[str, Any]:
    """Return the front matter of a model card (huggingface.co/docs/hub/model-cards)."""
    results = [
        {
            "task": {"type": "image-classification"},
            "dataset": {"type": "image_folder", "name": _data_name(record), "split": split},
            "metrics": [{"type": "accuracy", "value": record.metrics[f"{key}_end2end"]}],
        }
        for split, key in METRICS_OF.items()
        if record.metrics.get(f"{key}_end2end") is not None
    ]
    return {
        "license": "unknown",
        "library_name": "keras",
        "pipeline_tag": "image-classification",
        "tags": ["image-classification", "keras", "transfer-learning"],
        "metrics": ["accuracy"],
        "model-index": [{"name": as_text(name), "results": results}],
    }


def _data_metadata(record: RunRecord) -> dict[str, Any]:
    """Return the front matter of a data card (huggingface.co/docs/hub/datasets-cards)."""
    images = record.images
    total = sum(images.values())
    splits = [{"name": split, "num_examples": n} for split, n in images.items()]
    labels = {str(i): as_text(name) for i, name in enumerate(record.class_names)}
    features = [{"name": "image", "dtype": "image"}, {"name": "label", "dtype": {"class_label": {"names": labels}}}]
    return {
        "license": "unknown",
        "pretty_name": _data_name(record),
        "task_categories": ["image-classification"],
        "size_categories": [next((name for limit, name in SIZES if total < limit), "n>10M")],
        "dataset_info": {"features": features, "splits": splits},
    }


def _details(record: RunRecord) -> Rows:
    """Return the rows of the table of the model: what it is, and how it was trained."""
    row, network, seconds = Row("", Run(record, Path())), record.network, record.timing_sec.get("total")
    config, stages = row.config, row.planned_stages
    transfer, parameters = config.get("model") != "baseline", finite_number(network.get("parameters"))
    alpha = finite_number(config.get("alpha")) if config.get("backbone") == "MobileNetV2" else None
    width = f", width {alpha:g}" if alpha else ""
    rows = [
        ["Network", f"{_md(config.get('backbone', ''))}{width}" if transfer else _md(model_name(config))],
        ["Weights", f"{parameters:,.0f}" if parameters else ""],
        ["Input", f"RGB pixels, 0–255, {_md(config['stored_size'])} px a side" if "stored_size" in config else ""],
        ["Size in the network", f"{_md(config['image_size'])} px" if transfer and "image_size" in config else ""],
        ["Start", _md(record.weights.get("source", ""))],
        ["Epochs, at most", ", ".join(f"{n} ({STAGE_NAMES[stage]})" for stage, n in stages.items() if n)],
        ["Kept weights", "those before stage 2" if fell_back(record) else ""],
        ["Seed", _md(config.get("seed", ""))],
        ["Time", f"{duration(seconds)} in all" if seconds else ""],
        ["Cores", _md(record.machine.get("cores", ""))],
        ["GPU", "yes" if record.on_gpu else ""],
        ["Versions", ", ".join(f"{_md(name)} {_md(version)}" for name, version in record.versions.items())],
        ["Made", _md(record.created)],
    ]
    return [row for row in rows if row[1]]


def _results(record: RunRecord) -> Rows:
    """Return the rows of the table of results: what, its value with the interval, and on how many images."""
    metrics, images = record.metrics, record.images

    def count(split: str) -> str:
        return f"{images[split]:,}" if split in images else "not recorded"

    def row(title: str, key: str, split: str) -> list[str]:
        value, *ends = record.bounded(key)
        return [title, with_interval(value, *ends) if value is not None else "", count(split)]

    rows = [row(f"Accuracy on {split}", f"{key}_end2end", split) for split, key in METRICS_OF.items()]
    rows.append(row("Accuracy on test, averaged over views", "test_tta", "test"))
    rows += [row(f"Accuracy on test, LiteRT file in {kind}", f"test_{kind}", "test") for kind in PRECISIONS]
    if metrics.get("test_ece") is not None:
        rows.append(["Expected calibration error on test", percent(metrics["test_ece"]), count("test")])
    if checked := record.cross_validation:
        value = with_interval(*(checked.get(name) for name in ("accuracy", "low", "high")))
        number = f"{checked['images']:,.0f}" if "images" in checked else MISSING
        rows.append(["Cross-validated accuracy of a linear head on frozen features", value, number])
    return [cells for cells in rows if cells[1]]


def _per_class(record: RunRecord) -> Rows:
    rows = [
        [
            _md(as_text(entry.get("name"), 60)),
            *(percent(entry.get(score)) for score in ("precision", "recall", "f1")),
            as_text(entry.get("support"), 20),
        ]
        for entry in record.per_class[:MAX_LISTED_CLASSES]
    ]
    left_out = len(record.per_class) - len(rows)
    return [*rows, [f"and {left_out:,} more", "", "", "", ""]] if left_out else rows


def _unmeasured(record: RunRecord) -> list[str]:
    """Return what the record does not say about the model; one phrase for each."""
    metrics = record.metrics
    missing = {
        "the accuracy on a test split": metrics.get("test_end2end"),
        "how well the probabilities are calibrated": metrics.get("test_ece"),
        "precision and recall of each class": record.per_class,
        'when the model should answer "not sure"': record.not_sure.get("threshold"),
    }
    return [
        *(phrase for phrase, value in missing.items() if value in (None, [], {})),
        "how much the accuracy changes with the seed: this is one run",
        "pictures from another source: another camera, place, season or population",
        "groups of people or of things within a class, and whether it treats them alike",
        "damaged, blurred or adversarial pictures",
    ]


def _class_names(record: RunRecord) -> list[str]:
    names = [as_text(name, 60) for name in record.class_names]
    shown = [_md(name) for name in names[:MAX_LISTED_CLASSES] if name]
    return [*shown, f"and {len(names) - MAX_LISTED_CLASSES:,} more"] if len(names) > MAX_LISTED_CLASSES else shown


def _data_name(record: RunRecord) -> str:
    return as_text(record.dataset.get("description") or record.dataset.get("name") or record.config.get("dataset"))


def _md(value: Any) -> str:
    """Return a value of a record as text of a Markdown table or sentence, without markup."""
    return re.sub(r"([\\|`*_\[\]#])", r"\\\1", as_label(value, MAX_LENGTH))


def _yaml(metadata: dict[str, Any]) -> str:
    return yaml.safe_dump(metadata, sort_keys=False, allow_unicode=True, width=120).strip()
