"""The pictures of a classifier in the making: their folder, and its limits.

A collection is an image folder, ``<class>/*``, so that ``transfer-utils train --dataset folder`` takes it as it is.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import unicodedata
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from filelock import Timeout

from transfer_utils.errors import UserError
from transfer_utils.utils.files import lock, write_json
from transfer_utils.utils.text import JOINERS, as_text, format_bytes, is_printable, without_joiners

FOLDER = "teach"  # in the runs folder; it holds the collections
BESIDE = ".teach"  # in a collection, hidden from training: what is no picture

MIN_CLASSES, MAX_CLASSES = 2, 10
MIN_PICTURES = 5  # of each class, before anything is trained: one for each fold of the cross-validation
MAX_FILES = 2_000  # in one upload, in one archive, and in a collection
MAX_FILE_BYTES = 20_000_000  # of one picture
MAX_ARCHIVE_BYTES = 200_000_000  # of a zip file
MAX_BYTES = 2_000_000_000  # of all pictures of a collection
MAX_CLASS_NAME, MAX_FILE_NAME = 60, 200  # characters
MAX_NAME_BYTES = 200  # of a class in UTF-8; file systems allow 255

RESERVED = {"CON", "PRN", "AUX", "NUL", *(f"{port}{n}" for port in ("COM", "LPT") for n in range(1, 10))}  # Windows
FORBIDDEN = re.compile(r'[/\\:*?"<>|]')  # in the names of folders, on any system
DIGEST_CHARACTERS = 24
PICTURE_NAME = re.compile(rf"[0-9a-f]{{{DIGEST_CHARACTERS}}}\.[a-z0-9]{{2,5}}")


class Collection:
    """The folder of one collection: a folder for each class, and beside them what is no picture.

    Attributes:
        folder: the image folder.
        beside: the hidden folder for uploads, thumbnails, the names of files, and answers.
        names: the file with the names that the pictures had where they came from, by their stored names.
        measurement, step: the files of the last measurement, and of how far a command has come.
    """

    def __init__(self, folder: Path):
        self.folder, self.beside = folder, folder / BESIDE
        self.names = self.beside / "names.json"
        self.measurement, self.step = self.beside / "measurement.json", self.beside / "step.json"

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

    def is_source_of(self, data_dir: object) -> bool:
        """Return whether a run with this ``data_dir`` may have learned from these pictures, also before a move.

        A collection of the same name in another project cannot be told apart.
        """
        return Path(str(data_dir)).parts[-2:] == self.folder.parts[-2:]

    def classes(self) -> dict[str, list[str]]:
        """Return the stored file names of the pictures of each class, sorted; links are left out."""
        with os.scandir(self.folder) as entries:
            names = [entry.name for entry in entries if entry.is_dir(follow_symlinks=False) and entry.name[0] != "."]
        return {name: self._pictures(name) for name in sorted(names)}

    def _pictures(self, class_name: str) -> list[str]:
        try:
            with os.scandir(self.folder / class_name) as entries:
                files = [entry.name for entry in entries if entry.is_file(follow_symlinks=False)]
        except FileNotFoundError:
            return []  # the class is being removed
        return sorted(name for name in files if PICTURE_NAME.fullmatch(name))

    def read_thumbnail(self, picture: str) -> bytes:
        """Return the thumbnail of a picture, a JPEG file; empty if there is none, or if it is a link."""
        path = self.thumbnail_path(picture)
        try:
            return b"" if path.is_symlink() else path.read_bytes()
        except OSError:
            return b""  # the picture was put into the folder by hand, or is being removed

    def newest(self, class_name: str) -> list[str]:
        """Return the stored file names of the pictures of a class, those that were added last first."""
        times = {}
        for picture in self._pictures(class_name):
            try:
                times[picture] = os.lstat(self.folder / class_name / picture).st_mtime_ns
            except OSError:
                continue  # it is being removed
        return sorted(times, key=times.get, reverse=True)

    def digest(self) -> str:
        """Return 24 hex digits of the names of all pictures, which name their contents, and of their classes."""
        lines = [f"{name}/{picture}" for name, pictures in self.classes().items() for picture in pictures]
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:DIGEST_CHARACTERS]

    def add_class(self, name: str) -> None:
        """Create the folder of a class.

        Raises:
            UserError: the name cannot be that of a folder or is taken, or there are ten classes already.
        """
        name, taken = checked_name(name, "class"), self.classes()
        if spelling(name) in map(spelling, taken):
            raise UserError(f"There is a class '{name}' already.")
        if len(taken) >= MAX_CLASSES:
            raise UserError(f"There may be at most {MAX_CLASSES} classes.")
        (self.folder / name).mkdir()

    def remove_class(self, name: str) -> None:
        """Delete a class with its pictures."""
        if name in (classes := self.classes()):
            self.remove(name, *classes[name])
            shutil.rmtree(self.folder / name)

    def remove(self, class_name: str, *pictures: str) -> None:
        """Delete pictures; those that are not in the collection are ignored."""
        if found := set(pictures) & set(self.classes().get(class_name, [])):
            for picture in found:
                (self.folder / class_name / picture).unlink(missing_ok=True)
                self.thumbnail_path(picture).unlink(missing_ok=True)
            self._forget_names()

    def _forget_names(self) -> None:
        """Drop the original names of pictures that have been removed; an upload that is under way does so itself."""
        with suppress(Timeout), lock(self.names, timeout=0):
            if names := self.original_names():
                write_json(self.names, self.only_kept(names))

    def only_kept(self, names: dict[str, str]) -> dict[str, str]:
        """Return the original names of those pictures that are in the collection."""
        kept = {picture for pictures in self.classes().values() for picture in pictures}
        return {picture: name for picture, name in names.items() if picture in kept}

    def missing(self) -> str:
        """Return in a sentence what must be added before anything can be trained; empty if nothing must."""
        classes = self.classes()
        if len(classes) < MIN_CLASSES:
            return f"A classifier needs at least {MIN_CLASSES} classes."
        short = [
            f"{as_text(name)} has {len(pictures)}" for name, pictures in classes.items() if len(pictures) < MIN_PICTURES
        ]
        return f"Each class needs at least {MIN_PICTURES} pictures: {', '.join(short)}." if short else ""


def collections(runs: Path) -> list[str]:
    """Return the names of the collections in a runs folder, the newest first; links are left out."""
    place = runs / FOLDER
    if place.is_symlink() or not place.is_dir():
        return []
    with os.scandir(place) as entries:
        dated = [
            (entry.stat().st_mtime_ns, entry.name)
            for entry in entries
            if entry.is_dir(follow_symlinks=False) and os.path.isdir(os.path.join(entry.path, BESIDE))
        ]
    return [name for _, name in sorted(dated, reverse=True)]


def create_collection(runs: Path, name: str, classes: Iterable[str] = ()) -> Collection:
    """Create a collection with these classes, without pictures, in a runs folder.

    Raises:
        UserError: the name or that of a class cannot be that of a folder, or is taken.
        OSError: the folder cannot be written. In either case nothing is left behind.
    """
    name = checked_name(name, "classifier")
    place = runs / FOLDER
    if place.is_symlink():
        raise UserError(f"{FOLDER} in the runs folder is a link, which is not followed.")
    place.mkdir(parents=True, exist_ok=True)
    try:
        (place / name).mkdir()
    except FileExistsError:
        raise UserError(f"There is a classifier '{name}' already: open it, or choose another name.") from None
    collection = Collection(place / name)
    try:
        collection.beside.mkdir()
        for word in classes:
            collection.add_class(word)
    except (UserError, OSError):
        shutil.rmtree(collection.folder)
        raise
    return collection


def checked_name(name: str, what: str) -> str:
    """Return a name that can be that of a folder on any system, without spaces around it.

    Raises:
        UserError: it cannot; the message says why.
    """
    name = unicodedata.normalize("NFC", name).strip().rstrip(". " + JOINERS).lstrip(" " + JOINERS)
    if not name:
        raise UserError(f"The {what} needs a name.")
    if len(name) > MAX_CLASS_NAME:
        raise UserError(f"The name of a {what} may have at most {MAX_CLASS_NAME} characters, got {len(name)}.")
    if (size := len(name.encode("utf-8", "replace"))) > MAX_NAME_BYTES:
        raise UserError(f"The name of a {what} may have at most {MAX_NAME_BYTES} bytes in UTF-8, got {size}.")
    if FORBIDDEN.search(name) or not is_printable(name) or name[0] in "._":
        raise UserError(
            f"The name of a {what} must not begin with . or _ nor contain control characters or any of "
            f"/ \\ : * ? \" < > |, got '{as_text(name)}'."
        )
    if name.split(".")[0].rstrip().upper() in RESERVED:
        raise UserError(f"A {what} cannot be called '{name}': Windows keeps this name for a device.")
    return name


def spelling(name: str) -> str:
    """Return what the names of classes that look alike have in common: all but case and joiners."""
    return without_joiners(name.casefold())


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
