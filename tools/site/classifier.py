"""The page of the site on which a classifier runs in the reader's browser, and the files that it loads."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

from transfer_utils.config.options import preset
from transfer_utils.data import load_dataset
from transfer_utils.data.images import encode_image
from transfer_utils.demo.page import demo_files, demo_fragment, read_classifier
from transfer_utils.errors import UserError

MODEL = "docs/site/digits/model-float16.tflite"  # with the record of its run beside it
FOLDER = "classifier-files"


class ClassifierPage(NamedTuple):
    """The HTML of the classifier for a page, the files that it loads by name, and why they are missing if they are."""

    fragment: str
    files: dict[str, bytes]
    missing: str = ""

    def write(self, site: Path) -> None:
        """Write the files into their folder of the built site."""
        for name, content in self.files.items():
            path = site / FOLDER / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)


def classifier_page(root: Path) -> ClassifierPage:
    """Return the page of the digits network; if LiteRT.js is unavailable, without files and with the reason.

    Raises:
        UserError: the model in the repository cannot be read.
    """
    classifier, examples = read_classifier(root / MODEL), example_files()
    fragment = demo_fragment(classifier, examples, f"{FOLDER}/")
    try:
        return ClassifierPage(fragment, demo_files(classifier, examples))
    except UserError as error:
        return ClassifierPage(fragment, {}, str(error))


def example_files() -> dict[str, bytes]:
    """Return the first test image of each digit as PNG files, by name."""
    test, files = load_dataset(preset("offline")).test, {}
    for label in range(int(test.labels.max()) + 1):
        position = int(np.flatnonzero(test.labels == label)[0])
        files[f"{label}.png"] = encode_image(test.take(slice(position, position + 1))[0])
    return files
