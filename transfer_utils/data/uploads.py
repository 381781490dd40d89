"""Judge uploaded files, and keep those that are pictures in a collection, under names computed from their content."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from contextlib import suppress
from pathlib import Path

from transfer_utils.data.archives import is_archive, read_archive
from transfer_utils.data.image_folder import HEIC, HEIC_ADVICE, has_picture_suffix
from transfer_utils.data.images import decode_image, encode_image
from transfer_utils.errors import UserError
from transfer_utils.teach.collection import (
    BESIDE,
    DIGEST_CHARACTERS,
    MAX_BYTES,
    MAX_CLASSES,
    MAX_FILE_BYTES,
    MAX_FILE_NAME,
    MAX_FILES,
    Collection,
    check_upload,
    checked_name,
    spelling,
)
from transfer_utils.teach.messages import RECEIPT_NAME, REQUEST_NAME, Receipt, Upload, read_model, write_model
from transfer_utils.utils.files import lock, write_bytes, write_json
from transfer_utils.utils.text import as_text, counted, format_bytes, printable

THUMBNAIL_SIDE, THUMBNAIL_QUALITY = 160, 85


def take_upload(folder: Path) -> Receipt:
    """Keep the pictures of an upload in its collection; write and return what became of it.

    Args:
        folder: of the upload, inside ``Collection.beside``. It holds the request and the uploaded files.

    Raises:
        UserError: the request is missing or damaged, or exceeds the limits.
    """
    beside = folder.resolve().parent
    request = read_model(folder / REQUEST_NAME, Upload)
    if request is None or beside.name != BESIDE:
        raise UserError(f"{printable(str(folder))} is not the folder of an upload.")
    collection = Collection(beside.parent)
    paths = [folder / str(number) for number in range(len(request.names))]
    check_upload([path.stat().st_size for path in paths])
    with lock(collection.names):  # two uploads at once must not exceed the limits together
        keeper = _Keeper(collection)
        try:
            for path, name in zip(paths, request.names, strict=True):
                keeper.take(path, name, request.class_name)
        finally:  # the pictures that were kept keep their names, even if the disk is full now
            receipt = keeper.close()
    write_model(folder / RECEIPT_NAME, receipt)
    return receipt


class _Keeper:
    """Keeps pictures in a collection until it is full, and notes what is refused."""

    def __init__(self, collection: Collection):
        self._collection = collection
        classes = collection.classes()
        self._classes, self._created = set(classes), set()
        self._class_of = {picture[:DIGEST_CHARACTERS]: name for name in classes for picture in classes[name]}
        paths = [collection.folder / name / picture for name in classes for picture in classes[name]]
        self._n_bytes = 0
        for path in paths:
            with suppress(FileNotFoundError):  # another window has removed it since
                self._n_bytes += path.stat().st_size
        self._names = collection.original_names()
        self._added: Counter[str] = Counter()
        self._refused: list[str] = []

    def take(self, path: Path, name: str, class_name: str) -> None:
        """Take one uploaded file: a picture, or a zip file of pictures."""
        try:
            if is_archive(path):
                self._take_archive(path, name, class_name)
            elif not class_name:
                raise UserError(f"{as_text(name)} is not a zip file.")
            else:
                size = path.stat().st_size
                self._keep(class_name, name, path.read_bytes() if size <= MAX_FILE_BYTES else b"", size)
        except UserError as error:
            self._refused.append(str(error))

    def _take_archive(self, path: Path, name: str, class_name: str) -> None:
        folders, pictures = read_archive(path, name, MAX_FILES, MAX_FILE_BYTES, MAX_BYTES)
        class_of = self._classes_for(folders, name) if not class_name else {}
        for member in pictures:
            if isinstance(member, str):
                self._refused.append(member)
                continue
            target = class_name or class_of.get(member.folder, "")  # no class for a folder without pictures
            try:
                self._keep(target, member.name, member.content, len(member.content))
            except UserError as error:
                self._refused.append(str(error))

    def _classes_for(self, folders: list[str], name: str) -> dict[str, str]:
        """Return the class for each folder of an archive; those that do not exist yet are created.

        Raises:
            UserError: there are files in no folder, too many folders, or a name that cannot be that of a class.
        """
        if not folders or "" in folders:
            raise UserError(f"{as_text(name)} must hold a folder for each class and no picture outside of them.")
        names = {folder: checked_name(folder, "class") for folder in folders}
        existing = {spelling(known): known for known in self._classes}
        if len({*existing, *map(spelling, names.values())}) > MAX_CLASSES:
            raise UserError(f"{as_text(name)} holds {len(folders)} classes; there may be at most {MAX_CLASSES} in all.")
        for folder, new in names.items():
            if spelling(new) not in existing:
                self._collection.add_class(new)
                existing[spelling(new)] = new
                self._classes.add(new)
                self._created.add(new)
            names[folder] = existing[spelling(new)]
        return names

    def _keep(self, class_name: str, name: str, content: bytes, size: int) -> None:
        """Keep one picture.

        Raises:
            UserError: it is no picture, too large, already there, or the collection is full; the message names it.
        """
        if len(name) > MAX_FILE_NAME:
            raise UserError(f"{as_text(name, 40)}: a name of {len(name)} characters; the limit is {MAX_FILE_NAME}.")
        shown = as_text(name)
        suffix = os.path.splitext(name.lower())[1]
        if suffix in HEIC:
            raise UserError(f"{shown}: {HEIC_ADVICE}")
        if not has_picture_suffix(name):
            raise UserError(f"{shown}: not a picture that can be read, such as JPEG, PNG or WebP.")
        folder = self._collection.folder / class_name
        gone = UserError(f"There is no class {as_text(class_name)!r} any more.")
        if class_name not in self._classes:
            raise gone
        if size > MAX_FILE_BYTES:
            limit = format_bytes(MAX_FILE_BYTES)
            raise UserError(f"{shown}: {format_bytes(size)}; the limit for a picture is {limit}.")
        digest = hashlib.sha256(content).hexdigest()[:DIGEST_CHARACTERS]
        if digest in self._class_of:
            raise UserError(f"{shown}: the same picture is in {as_text(self._class_of[digest])} already.")
        if len(self._class_of) >= MAX_FILES or self._n_bytes + size > MAX_BYTES:
            limit = f"{counted(MAX_FILES, 'picture')} or {format_bytes(MAX_BYTES)}"
            raise UserError(f"{shown}: the classifier is full; it may have at most {limit}.")
        thumbnail = _thumbnail(content, shown)
        if not folder.is_dir():  # another page has removed it since
            raise gone
        picture = digest + suffix
        write_bytes(folder / picture, content)
        write_bytes(self._collection.thumbnail_path(picture), thumbnail)
        self._class_of[digest], self._names[picture] = class_name, shown
        self._n_bytes += size
        self._added[class_name] += 1

    def close(self) -> Receipt:
        for name in self._created - set(self._added):  # all of its pictures were refused
            with suppress(OSError):
                (self._collection.folder / name).rmdir()
        write_json(self._collection.names, self._collection.only_kept(self._names))
        return Receipt(added=dict(self._added), refused=self._refused)


def _thumbnail(content: bytes, name: str) -> bytes:
    """Return a picture as a small square JPEG file; ``BadImage`` as in ``decode_image``."""
    return encode_image(decode_image(content, THUMBNAIL_SIDE, name), "JPEG", quality=THUMBNAIL_QUALITY)
