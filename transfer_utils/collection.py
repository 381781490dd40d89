"""The pictures of a classifier in the making: their folder, its limits, and what the page Teach and its commands write.

The page writes uploaded files into a folder of their own and starts commands, which judge and keep the files, measure
and train. Their answers are JSON files beside the pictures. A collection is an image folder, ``<class>/*``, so that
``transfer-utils train --dataset folder`` takes it as it is.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import stat
import unicodedata
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from transfer_utils.errors import UserError
from transfer_utils.utils.files import write_json
from transfer_utils.utils.text import as_text, counted, format_bytes

FOLDER = "teach"  # in the runs folder; it holds the collections
BESIDE = ".teach"  # in a collection, hidden from training: what is no picture

REQUEST_NAME, RECEIPT_NAME = "request.json", "receipt.json"  # in the folder of an upload

MIN_CLASSES, MAX_CLASSES = 2, 10
MIN_PICTURES = 5  # of each class, before anything is trained: one for each fold of the cross-validation
MAX_FILES = 2_000  # in one upload, in one archive, and in a collection
MAX_FILE_BYTES = 20_000_000  # of one picture
MAX_ARCHIVE_BYTES = 200_000_000  # of a zip file
MAX_BYTES = 2_000_000_000  # of all pictures of a collection
MAX_CLASS_NAME, MAX_FILE_NAME = 60, 200  # characters
MAX_NAME_BYTES = 200  # of a class in UTF-8; file systems allow 255
MAX_JSON_BYTES = 8 << 20

FORBIDDEN = re.compile(r'[/\\:*?"<>|]')  # in the names of folders, on any system
DIGEST_CHARACTERS = 24
PICTURE_NAME = re.compile(rf"[0-9a-f]{{{DIGEST_CHARACTERS}}}\.[a-z0-9]{{2,5}}")

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
        gain, gain_low, gain_high: the difference of the last two points in [-1, 1], with Student's 95 % interval of the
            mean over the pictures; None if there is one point only.
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


class Collection:
    """The folder of one collection: a folder for each class, and beside them what is no picture.

    Attributes:
        folder: the image folder.
        beside: the hidden folder for uploads, thumbnails, the names of files, and answers.
    """

    def __init__(self, folder: Path):
        self.folder, self.beside = folder, folder / BESIDE

    @property
    def measurement(self) -> Path:
        return self.beside / "measurement.json"

    @property
    def step(self) -> Path:
        return self.beside / "step.json"

    @property
    def names(self) -> Path:
        """The file with the names that the pictures had on the machine that they came from, by their stored names."""
        return self.beside / "names.json"

    def thumbnail_path(self, picture: str) -> Path:
        """Return the path of the thumbnail, a JPEG file, of the stored file name of a picture."""
        return self.beside / "thumbnails" / f"{picture.split('.')[0]}.jpg"

    def original_names(self) -> dict[str, str]:
        """Return the original names of the pictures; none if their file is missing or damaged: they are only shown."""
        try:
            names = json.loads(self.names.read_bytes())
        except (OSError, ValueError, RecursionError):
            return {}
        return {str(key): str(value) for key, value in names.items()} if isinstance(names, dict) else {}

    def classes(self) -> dict[str, list[str]]:
        """Return the stored file names of the pictures of each class, sorted; links are left out."""
        with os.scandir(self.folder) as entries:
            names = [entry.name for entry in entries if entry.is_dir(follow_symlinks=False) and entry.name[0] != "."]
        return {name: self._pictures(name) for name in sorted(names)}

    def _pictures(self, class_name: str) -> list[str]:
        with os.scandir(self.folder / class_name) as entries:
            files = [entry.name for entry in entries if entry.is_file(follow_symlinks=False)]
        return sorted(name for name in files if PICTURE_NAME.fullmatch(name))

    def newest(self, class_name: str, limit: int) -> list[str]:
        """Return the stored file names of the pictures of a class that were added last and have a thumbnail."""
        times = {}
        for picture in self.classes().get(class_name, []):
            try:
                status = os.lstat(self.thumbnail_path(picture))
            except OSError:
                continue  # it was put into the folder by hand, or is being removed
            if stat.S_ISREG(status.st_mode):
                times[picture] = status.st_mtime_ns
        return sorted(times, key=times.get, reverse=True)[:limit]

    def digest(self) -> str:
        """Return 24 hex digits of the names of all pictures, which name their contents, and of their classes."""
        lines = [f"{name}/{picture}" for name, pictures in self.classes().items() for picture in pictures]
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:DIGEST_CHARACTERS]

    def add_class(self, name: str) -> str:
        """Create the folder of a class; return its name.

        Raises:
            UserError: the name cannot be that of a folder or is taken, or there are ten classes already.
        """
        name, taken = checked_name(name, "class"), self.classes()
        if name.casefold() in {other.casefold() for other in taken}:
            raise UserError(f"There is a class {name!r} already.")
        if len(taken) >= MAX_CLASSES:
            raise UserError(f"There may be at most {MAX_CLASSES} classes.")
        (self.folder / name).mkdir()
        return name

    def remove_class(self, name: str) -> None:
        """Delete a class with its pictures."""
        for picture in self.classes().get(name, []):
            self.remove(name, picture)
        if name in self.classes():
            shutil.rmtree(self.folder / name)

    def remove(self, class_name: str, picture: str) -> None:
        """Delete a picture; one that is not in the collection is ignored."""
        if picture in self.classes().get(class_name, []):
            (self.folder / class_name / picture).unlink(missing_ok=True)
            self.thumbnail_path(picture).unlink(missing_ok=True)

    def missing(self) -> str:
        """Return in a sentence what must be added before anything can be trained; empty if nothing must."""
        classes = self.classes()
        if len(classes) < MIN_CLASSES:
            return f"A classifier needs at least {MIN_CLASSES} classes."
        short = [f"{as_text(name)} has {len(found)}" for name, found in classes.items() if len(found) < MIN_PICTURES]
        return f"Each class needs at least {MIN_PICTURES} pictures: {', '.join(short)}." if short else ""


def collections(runs: Path) -> list[str]:
    """Return the names of the collections in a runs folder, the newest first; links are left out."""
    place = runs / FOLDER
    if place.is_symlink() or not place.is_dir():
        return []
    with os.scandir(place) as entries:
        found = [
            (entry.stat().st_mtime_ns, entry.name)
            for entry in entries
            if entry.is_dir(follow_symlinks=False) and os.path.isdir(os.path.join(entry.path, BESIDE))
        ]
    return [name for _, name in sorted(found, reverse=True)]


def create_collection(runs: Path, name: str) -> Collection:
    """Create an empty collection in a runs folder.

    Raises:
        UserError: the name cannot be that of a folder, or is taken.
        OSError: the folder cannot be written.
    """
    name = checked_name(name, "classifier")
    place = runs / FOLDER
    if place.is_symlink():
        raise UserError(f"{FOLDER} in the runs folder is a link, which is not followed.")
    place.mkdir(parents=True, exist_ok=True)
    try:
        (place / name).mkdir()
    except FileExistsError:
        raise UserError(f"There is a classifier {name!r} already: open it, or choose another name.") from None
    collection = Collection(place / name)
    collection.beside.mkdir()
    return collection


def checked_name(name: str, what: str) -> str:
    """Return a name that can be that of a folder on any system, without spaces around it.

    Raises:
        UserError: it cannot; the message says why.
    """
    name = unicodedata.normalize("NFC", name).strip().rstrip(".")
    if not name:
        raise UserError(f"The {what} needs a name.")
    if len(name) > MAX_CLASS_NAME or len(name.encode("utf-8", "replace")) > MAX_NAME_BYTES:
        raise UserError(f"The name of a {what} may have at most {MAX_CLASS_NAME} characters, got {len(name)}.")
    if FORBIDDEN.search(name) or not name.isprintable() or name[0] in "._":
        raise UserError(
            f"The name of a {what} must not begin with . or _ nor contain control characters or any of "
            f'/ \\ : * ? " < > |, got {as_text(name)!r}.'
        )
    return name


def check_upload(sizes: list[int]) -> None:
    """Check the number of files of an upload and their sizes in bytes before anything is written.

    Raises:
        UserError: there are too many, or they are too large.
    """
    if len(sizes) > MAX_FILES:
        raise UserError(f"An upload may have at most {MAX_FILES:,} files, got {len(sizes):,}. Nothing was kept.")
    if max(sizes, default=0) > MAX_ARCHIVE_BYTES or sum(sizes) > MAX_BYTES:
        limits = f"{format_bytes(MAX_ARCHIVE_BYTES)} for one file and {format_bytes(MAX_BYTES)} for all"
        raise UserError(f"An upload may have at most {limits}. Nothing was kept.")


def check_room(collection: Collection, more: int = 1) -> None:
    """Raise ``UserError`` if a collection cannot take ``more`` pictures."""
    n = sum(map(len, collection.classes().values()))
    if n + more > MAX_FILES:
        raise UserError(f"A classifier may have at most {counted(MAX_FILES, 'picture')}, and this one has {n:,}.")


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
