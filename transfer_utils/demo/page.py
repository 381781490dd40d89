"""Write a folder that any web server can serve: a classifier that runs in the visitor's browser, with LiteRT.js."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from transfer_utils.config.options import MODEL_SUFFIXES
from transfer_utils.data.images import decode_image, encode_image
from transfer_utils.demo.library import library_files
from transfer_utils.errors import UserError
from transfer_utils.models.engine import litert_missing
from transfer_utils.models.litert import convert, open_content
from transfer_utils.models.saving import check_is_model, load_model, names_and_threshold
from transfer_utils.predict import SUFFIXES, check_side, image_side
from transfer_utils.records.record import RECORD_NAME, RunRecord, read_record
from transfer_utils.records.salvage import UnreadableRecord
from transfer_utils.report.cards import short_card
from transfer_utils.report.rendering import environment
from transfer_utils.utils.files import write_bytes
from transfer_utils.utils.progress import Log, Progress
from transfer_utils.utils.text import command_line, format_bytes

WEB = Path(__file__).parent / "web"
SCRIPTS = ("demo.js", "demo.css", "classifier.js", "pixels.js")
MARK = SCRIPTS[0]  # written first: a folder with this file holds a page, or the beginning of one
LIBRARY_BYTES = 10_000_000  # what a browser loads of LiteRT.js
PAGE_NAME = "index.html"
# The models that a run leaves in its folder, the most exact first.
MODELS_OF_A_RUN = ("model-float32.tflite", "model-float16.tflite", "model-int8.tflite", "model.keras")


@dataclass(frozen=True)
class Classifier:
    """What a page needs of a classifier.

    Attributes:
        content: of its LiteRT file.
        side: of the images that it takes, in pixels.
        classes: their names, in the order of the outputs.
        not_sure_below: the largest probability below which the answer is "not sure"; 0 if there is always an answer.
        record: of the run that trained it, if that is known.
        precision: of the file, if the run of ``record`` exported it; else empty.
    """

    content: bytes = field(repr=False)
    side: int
    classes: list[str]
    not_sure_below: float = 0.0
    record: RunRecord | None = None
    precision: str = ""


def write_demo(
    model: str | os.PathLike,
    output_dir: str | os.PathLike,
    *,
    examples: Iterable[str | os.PathLike] = (),
    cache_dir: str = "",
    progress: Progress | None = None,
    log: Log = lambda line: None,
) -> Path:
    """Write the page of a classifier as ``index.html``, with all that it loads, into a folder; return its path.

    Args:
        model: a LiteRT file, a saved Keras model, or the folder of a run; the last two are converted if needed.
        output_dir: files of an earlier call are replaced.
        examples: image files that visitors can try, shown as thumbnails.
        cache_dir: where LiteRT.js is kept.

    Raises:
        UserError: the model cannot be used, an example cannot be read, LiteRT.js is unavailable, or the folder holds
            files of these names that no earlier call wrote.
    """
    folder = Path(output_dir)
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder} is a file: name a folder for the page.")
    classifier = read_classifier(Path(model))
    # Cropped and resized as the model takes them: no more of a photograph is published.
    pictures = {
        f"{number}.png": encode_image(decode_image(path, classifier.side)) for number, path in enumerate(examples, 1)
    }
    files = demo_files(classifier, pictures, cache_dir, progress)
    files[PAGE_NAME] = _render("page.html.j2", classifier, pictures, "").encode()
    # An earlier call may have had more examples, which must not be published. Other files are the user's.
    old = [path for path in (folder / "examples").glob("*.png") if path.stem.isdecimal()]
    replaced = [] if (folder / MARK).is_file() else [*old, *(folder / name for name in files)]
    if foreign := next(filter(Path.exists, replaced), None):
        raise UserError(f"{foreign} is not of an earlier page and would be replaced: name another folder.")
    for path in old:
        path.unlink()
    for name, content in files.items():
        write_bytes(folder / name, content)
    size, server = format_bytes(sum(map(len, files.values()))), ["python", "-m", "http.server", "--bind", "127.0.0.1"]
    log(f"Wrote {folder / PAGE_NAME} and what it loads, {size}, for any web server. To try it here:")
    log(f"{command_line([*server, '--directory', str(folder), '8000'])}, then open http://127.0.0.1:8000.")
    return folder / PAGE_NAME


def read_classifier(path: Path) -> Classifier:
    """Read a classifier from a LiteRT file, a saved Keras model, or the folder of a run.

    Raises:
        UserError: there is no such model, or it is not a classifier of square colour images.
    """
    path = _model_of_run(path)
    check_is_model(path, SUFFIXES)
    if path.suffix in MODEL_SUFFIXES:
        if missing := litert_missing():
            raise UserError(f"{path} cannot be converted for a page: {missing}.")
        model = load_model(path)
        image_side(path, model)  # before the conversion, which would fail on other models in ways of its own
        content = convert(model, 1)
    else:
        content = path.read_bytes()
    exported = open_content(content, path)
    check_side(path, exported.side)
    names, threshold = names_and_threshold(path, exported.shape[-1])
    record = _record_beside(path)
    precision = record.precision_of(path.name) if record else ""
    return Classifier(content, exported.side, names, threshold, record, precision)


def demo_files(
    classifier: Classifier, examples: Mapping[str, bytes], cache_dir: str = "", progress: Progress | None = None
) -> dict[str, bytes]:
    """Return the files that a page loads, by their paths below its folder; ``examples`` are PNG files by name.

    Raises:
        UserError: LiteRT.js is neither in the cache nor available from the npm registry.
    """
    about = {"class_names": classifier.classes, "not_sure_below": classifier.not_sure_below}
    files = {name: (WEB / name).read_bytes() for name in SCRIPTS}
    files |= {"model.tflite": classifier.content, "model.json": json.dumps(about, ensure_ascii=False).encode()}
    files |= {f"examples/{name}": content for name, content in examples.items()}
    library = library_files(cache_dir, progress)
    return files | {f"litert/{name}": content for name, content in library.items()}


def demo_fragment(classifier: Classifier, examples: Iterable[str], folder: str) -> str:
    """Return the content of the page, to be placed into the body of another one.

    Args:
        examples: the names of the example files.
        folder: the address, seen from that page, of the folder with the files; it ends in a slash.
    """
    return _render("demo.html.j2", classifier, examples, folder)


def _render(template: str, classifier: Classifier, examples: Iterable[str], folder: str) -> str:
    templates, size = environment(WEB, autoescape=True), len(classifier.content)
    card = short_card(classifier.record, size, classifier.side, classifier.not_sure_below, classifier.precision)
    return templates.get_template(template).render(
        files=folder,
        side=classifier.side,
        size=format_bytes(LIBRARY_BYTES + size),
        classes=classifier.classes,
        not_sure=classifier.not_sure_below > 0,
        facts=card,
        examples=[f"{folder}examples/{name}" for name in examples],
    )


def _model_of_run(path: Path) -> Path:
    """Return the model file in the folder of a run; any other path is returned as it is."""
    if not (path / RECORD_NAME).is_file():
        return path
    model = next((path / name for name in MODELS_OF_A_RUN if (path / name).is_file()), None)
    if model is None:
        raise UserError(f"{path} has no saved model, only the record of its run: train it again, or name a model file.")
    return model


def _record_beside(path: Path) -> RunRecord | None:
    try:
        return read_record(path.with_name(RECORD_NAME))
    except FileNotFoundError:
        return None
    except UnreadableRecord as error:
        raise UserError(f"The record beside {path} cannot be read: {error}") from None
