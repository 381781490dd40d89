"""What the page Teach and its commands write for each other: JSON files beside the pictures of a collection.

The page writes uploaded files into a folder of their own and starts commands, which judge and keep the files, measure
and train, and answer in such a file.
"""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from transfer_utils.teach.collection import MAX_FILES
from transfer_utils.utils.files import write_json

REQUEST_NAME, RECEIPT_NAME = "request.json", "receipt.json"  # in the folder of an upload
MAX_JSON_BYTES = 8 << 20

Model = TypeVar("Model", bound=BaseModel)


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class Upload(_Strict):
    """Uploaded files; the n-th of them is the file ``<n>`` beside the request.

    Attributes:
        class_name: the class of all pictures; empty if the folders of the archives name the classes.
        names: of the files on the machine that they came from.
    """

    class_name: str
    names: list[str] = Field(max_length=MAX_FILES)


class Receipt(_Strict):
    """What became of an upload.

    Attributes:
        added: the number of pictures that were kept, by class.
        refused: a sentence for each file that was not.
    """

    added: dict[str, int] = Field(default_factory=dict)
    refused: list[str] = Field(default_factory=list)


class Mistake(_Strict):
    """A picture that is classified wrongly by the mean of the heads that had not learned from it.

    Attributes:
        file: its path in the collection, ``<class>/<name>``.
        true, predicted: classes.
        probability: the mean probability of ``predicted``, 0-1.
    """

    file: str
    true: str
    predicted: str
    probability: float = Field(ge=0, le=1)


class CurvePoint(_Strict):
    """The accuracy of heads that learned from at most ``per_class`` pictures of each class, with its 95 % interval."""

    per_class: int
    accuracy: float
    low: float
    high: float


class Measurement(_Strict):
    """What cross-validation says of a head on the frozen features of a collection.

    Attributes:
        pictures_digest: ``Collection.digest`` of the pictures that were measured.
        weights: of the backbone, as in the option.
        n, different: the number of pictures, and of those and groups of them that do not look alike.
        folds, repeats: each picture was classified ``repeats`` times by a head that had not seen it.
        grouped: whether pictures that look alike were always in the same fold.
        alike: the number of pictures that look like another one.
        accuracy, low, high: the mean over all answers, and Wilson's 95 % interval for ``different`` pictures.
        guessing: the accuracy of always naming the largest class.
        recall: the share of the pictures of each class that were classified correctly.
        mistakes: the most confident first.
        curve: by the number of pictures per class, ascending; the last point has all.
        gain, gain_low, gain_high: the difference of the last two points in [-1, 1], with Student's 95 % interval, for
            which pictures that look alike count as one; None if there is one point only.
    """

    pictures_digest: str
    weights: str
    n: int
    different: int
    folds: int
    repeats: int
    grouped: bool
    alike: int
    accuracy: float
    low: float
    high: float
    guessing: float
    recall: dict[str, float]
    mistakes: list[Mistake]
    curve: list[CurvePoint]
    gain: float | None
    gain_low: float | None
    gain_high: float | None


class Step(_Strict):
    """How far a command has come: ``done`` of ``total`` steps."""

    title: str
    done: int
    total: int


def write_model(path: Path, value: BaseModel) -> None:
    """Write a model as JSON, atomically."""
    write_json(path, value.model_dump())


def read_model(path: Path, kind: type[Model]) -> Model | None:
    """Return what ``write_model`` wrote; None if the file is missing, too large or damaged."""
    try:
        if path.is_symlink() or path.stat().st_size > MAX_JSON_BYTES:
            return None
        return kind.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return None
