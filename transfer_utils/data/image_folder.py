"""List the image files of a folder as people have it, and say what was left out of it."""

from __future__ import annotations

import hashlib
import os
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from transfer_utils.data.image_files import ImageFiles
from transfer_utils.data.images import is_picture
from transfer_utils.errors import UserError
from transfer_utils.utils.files import why_no_folder
from transfer_utils.utils.text import counted, printable

# The extensions of the formats that ``decode_image`` reads.
EXTENSIONS = frozenset(b".png .apng .jpg .jpeg .jpe .jfif .gif .bmp .dib .webp .avif .tif .tiff .ppm .pgm".split())
EXTENSIONS |= frozenset(b".pbm .pnm .jp2 .j2k .tga".split())
HEIC = {".heic", ".heif", ".hif"}
HEIC_ADVICE = (
    "HEIC files cannot be read: convert them to JPEG first, with the export of a photo viewer or with "
    "`magick mogrify -format jpg *.heic`."
)
SPLIT_FOLDERS = {b"train": "train", b"training": "train", b"test": "test", b"testing": "test"}
SPLIT_FOLDERS |= dict.fromkeys((b"validation", b"valid", b"val"), "validation")
SYSTEM_NAMES = {b"__macosx", b"thumbs.db", b"desktop.ini"}  # left by macOS and Windows, like hidden files

MAX_KINDS = 8  # extensions of ignored files that are named


@dataclass(frozen=True)
class FolderListing:
    """The contents of an image folder.

    Attributes:
        class_names: sorted; the same for every split.
        splits: ``train`` and, if the folder has them, ``validation`` and ``test``.
        notes: sentences about files and folders that were ignored or read from unusual places.
    """

    class_names: list[str]
    splits: dict[str, ImageFiles]
    notes: list[str] = field(default_factory=list)


def list_image_folder(root: str | os.PathLike) -> FolderListing:
    """List the image files of ``<split>/<class>/**`` or ``<class>/**``, sorted by class and name.

    The first layout needs a folder ``train`` that contains folders; ``test`` and ``validation`` (or ``valid``,
    ``val``) are optional. Their names may be in any case and end in ``ing`` or ``set``: ``Training``, ``test_set``. In
    the second layout all files belong to ``train``. A folder that contains only such a folder is understood too.

    Files are listed by the extensions of the formats that ``decode_image`` reads, and files without an extension by
    their first bytes. Hidden files and those of the system, such as ``__MACOSX``, are left out. ``notes`` tells of all
    else that was not read: other files by their extensions, pictures beside the class folders, and links that lead out
    of ``root``, to nothing, or from a class folder to another folder.

    Raises:
        UserError: ``root`` is not a readable folder, has fewer than two class folders, two folders for one split, a
            split without images, or classes without training images, which are all named.
    """
    root = check_image_folder(root)
    try:
        return _list(_Survey(os.path.realpath(os.fsencode(root))))
    except OSError as error:
        raise UserError(f"{printable(error.filename or str(root))} cannot be read: {error.strerror}.") from error


def check_image_folder(path: str | Path, option: str = "data_dir") -> Path:
    """Return the path of an image folder with the user's home folder in the place of ``~``.

    Raises:
        UserError: it is not a folder; the message begins with ``option``.
    """
    root = Path(os.path.expanduser(path))
    if problem := why_no_folder(root):
        raise UserError(f"{option} must be an image folder, got {printable(str(path))!r}, which {problem}.")
    return root


@dataclass
class _Survey:
    """What is found in an image folder besides its pictures in their places.

    Attributes:
        links: links that are not followed.
        ignored: the number of files of each extension that were ignored, by class folder.
        loose: pictures beside the class folders.
        nested: the number of pictures in folders inside class folders; ``first_nested`` is the first by name.
        empty: the number of image files without content, by class folder.
    """

    root: bytes
    links: set[bytes] = field(default_factory=set)
    ignored: dict[bytes, Counter[str]] = field(default_factory=dict)
    loose: set[bytes] = field(default_factory=set)
    nested: int = 0
    first_nested: bytes = b""
    empty: Counter[bytes] = field(default_factory=Counter)
    notes: list[str] = field(default_factory=list)

    def name(self, path: bytes) -> str:
        """Return a path below the image folder, safe to print."""
        return printable(os.path.relpath(path, self.root))

    def all_notes(self) -> list[str]:
        notes = list(self.notes)
        if self.nested:
            read = f"Read {counted(self.nested, 'image')} from folders inside class folders"
            notes.append(f"{read}, for example {self.name(self.first_nested)}.")
        if self.loose:
            n = len(self.loose)
            are = f"{counted(n, 'picture')} beside the class folders {'was' if n == 1 else 'were'} not read"
            notes.append(f"{are}, for example {self.name(min(self.loose))}: put each into the folder of its class.")
        if kinds := sum(self.ignored.values(), Counter()):
            files = counted(kinds.total(), "file that is", "files that are")
            advice = f" {HEIC_ADVICE}" if HEIC & set(kinds) else ""
            notes.append(f"Ignored {files} not in a readable image format: {_kinds(kinds)}.{advice}")
        return notes + self._link_notes()

    def refusal(self, *problems: str) -> UserError:
        """Return the error for an unusable folder, which also names links, in which its pictures may lie."""
        return UserError("\n".join([*problems, *self._link_notes()]))

    def _link_notes(self) -> list[str]:
        if not self.links:
            return []
        links = counted(len(self.links), "link that leads", "links that lead")
        where = "out of the image folder, to nothing, or from a class folder to another folder"
        return [f"Ignored {links} {where}, for example {printable(min(self.links))}."]


def _list(survey: _Survey) -> FolderListing:
    places = _split_places(survey)
    folders = {split: _folders(place, survey) for split, place in places.items()}
    classes = sorted(set().union(*folders.values()))
    for place in places.values():
        survey.loose.update(_pictures(place))
    if not classes:
        problem = "holds no class folders; its layout must be <split>/<class>/* or <class>/*"
        raise survey.refusal(f"The image folder {printable(survey.root)} {problem}.")
    if all(map(_split_of, classes)):
        problem = "holds folders of splits without class folders in them; their layout must be <split>/<class>/*"
        raise survey.refusal(f"The image folder {printable(survey.root)} {problem}.")
    if len(classes) == 1:
        where = printable(places["train"])
        raise survey.refusal(f"{where} must hold at least two classes, got only {printable(classes[0])!r}.")
    splits = {split: _list_split(places[split], classes, folders[split], survey) for split in places}
    _check_classes(classes, splits, survey)
    return FolderListing([printable(name) for name in classes], splits, survey.all_notes())


def _split_places(survey: _Survey) -> dict[str, bytes]:
    """Return the folder of each split, or that of the classes as ``train`` if it contains them itself."""
    root = _unwrapped(survey)
    folders = _folders(root, survey)
    if not any(_split_of(name) == "train" and _folders(place, survey) for name, place in folders.items()):
        return {"train": root}
    survey.loose.update(_pictures(root))
    places: dict[str, bytes] = {}
    for name, place in folders.items():
        split = _split_of(name)
        if split in places:
            names = f"{printable(os.path.basename(places[split]))} and {printable(name)}"
            raise UserError(f"{printable(root)} must hold one folder for the {split} split, got {names}.")
        if split:
            places[split] = place
    others = [name for name in folders if not _split_of(name)]
    survey.notes += [f"The folder {printable(name)!r} beside the splits was not read." for name in others]
    return {split: _inner_split(place, split, survey) for split, place in places.items()}


def _unwrapped(survey: _Survey) -> bytes:
    """Return the folder inside the image folder that holds the splits or classes: usually the image folder itself.

    An unpacked archive often is a folder that contains nothing but another one.
    """
    place = survey.root
    while len(folders := _folders(place, survey)) == 1 and not _split_of(min(folders)) and not _pictures(place):
        [inner] = folders.values()
        if not _folders(inner, survey):
            break
        place = inner
    if place != survey.root:
        survey.notes.append(f"The classes were read from {survey.name(place)!r}, the only folder in the image folder.")
    return place


def _inner_split(place: bytes, split: str, survey: _Survey) -> bytes:
    """Return the folder of a split inside a folder of the same split, as in ``test_set/test_set``, or ``place``."""
    folders = _folders(place, survey)
    inner = [path for name, path in folders.items() if _split_of(name) == split]
    if not (len(folders) == len(inner) == 1 and _folders(inner[0], survey)):
        return place
    survey.loose.update(_pictures(place))
    return inner[0]


def _split_of(name: bytes) -> str | None:
    return SPLIT_FOLDERS.get(re.sub(rb"[ _-]?set$", b"", name.lower()))


def _folders(place: bytes, survey: _Survey) -> dict[bytes, bytes]:
    """Return the path of each visible folder in ``place``; links that are not followed are noted."""
    folders = {}
    with os.scandir(place) as entries:
        for entry in entries:
            if is_hidden(entry.name):
                continue
            if _leads_out(entry, survey.root):
                survey.links.add(entry.path)
            elif entry.is_dir():
                folders[entry.name] = entry.path
    return dict(sorted(folders.items()))


def is_hidden(name: bytes) -> bool:
    """Return whether a file or folder of this name is hidden or belongs to the system, and is left out."""
    return name.startswith(b".") or name.lower() in SYSTEM_NAMES


def _leads_out(entry: os.DirEntry, root: bytes) -> bool:
    """Return whether an entry is a link that leads out of the image folder, or to nothing."""
    if not entry.is_symlink():
        return False
    return not (os.path.exists(entry.path) and os.path.realpath(entry.path).startswith(os.path.join(root, b"")))


def _pictures(place: bytes) -> list[bytes]:
    """Return the paths of the pictures directly in a folder, also of those that cannot be read (HEIC)."""
    with os.scandir(place) as entries:
        return [
            entry.path
            for entry in entries
            if not is_hidden(entry.name)
            and entry.is_file(follow_symlinks=False)
            and (_extension(entry.name) in HEIC or _is_image_file(entry))
        ]


def has_picture_suffix(name: str) -> bool:
    """Return whether a file name has the extension of a picture, also of one that cannot be read (HEIC)."""
    suffix = os.path.splitext(name.lower())[1]
    return suffix in HEIC or suffix.encode("utf-8", "replace") in EXTENSIONS


def _list_split(place: bytes, classes: list[bytes], folders: dict[bytes, bytes], survey: _Survey) -> ImageFiles:
    digest, packed, n_bytes = hashlib.sha256(place), [], 0
    for name in classes:
        digest.update(b"\0\0" + name)
        names = _image_names(folders[name], survey) if name in folders else []
        for file in names:
            status = os.stat(os.path.join(folders[name], file))
            digest.update(b"\0%b\0%d %d" % (file, status.st_size, status.st_mtime_ns))
            n_bytes += status.st_size
            survey.empty[folders[name]] += not status.st_size
        packed.append(b"\0".join(names))
    return ImageFiles(place, tuple(classes), tuple(packed), digest.hexdigest(), survey.root, n_bytes)


def _image_names(folder: bytes, survey: _Survey) -> list[bytes]:
    """Return the paths below ``folder`` of all image files in it and in the folders inside it, sorted."""
    names, waiting = [], [b""]
    ignored = survey.ignored.setdefault(folder, Counter())
    while waiting:
        inner = waiting.pop()
        with os.scandir(os.path.join(folder, inner)) as entries:
            for entry in entries:
                # Also on Windows with a slash: the order of the files decides the splits.
                name = b"/".join((inner, entry.name)) if inner else entry.name
                if is_hidden(entry.name):
                    continue
                # A link to a folder may lead back to one that contains it.
                if _leads_out(entry, survey.root) or (entry.is_symlink() and entry.is_dir()):
                    survey.links.add(entry.path)
                elif entry.is_dir():
                    waiting.append(name)
                elif entry.is_file() and _is_image_file(entry):
                    names.append(name)
                    if inner:
                        survey.nested += 1
                        survey.first_nested = min(survey.first_nested or entry.path, entry.path)
                elif entry.is_file():
                    ignored[_extension(entry.name)] += 1
    return sorted(names)


def _is_image_file(entry: os.DirEntry) -> bool:
    extension = os.path.splitext(entry.name.lower())[1]
    return extension in EXTENSIONS if extension else is_picture(entry.path)


def _extension(name: bytes) -> str:
    return printable(os.path.splitext(name.lower())[1])[:20]


def _kinds(kinds: Counter[str]) -> str:
    """Return numbers of files by extension in words: ``10 .txt, 2 without an extension``."""
    named = [f"{count} {extension or 'without an extension'}" for extension, count in kinds.most_common(MAX_KINDS)]
    others = kinds.total() - sum(count for _, count in kinds.most_common(MAX_KINDS))
    return ", ".join(named + [f"{others} others"] * bool(others))


def _check_classes(classes: Sequence[bytes], splits: dict[str, ImageFiles], survey: _Survey) -> None:
    problems, few, heic = [], [], False
    train = splits["train"]
    needed = 1 + sum(split not in splits for split in ("validation", "test"))  # one for each split
    for name, listed in zip(classes, train.counts.tolist(), strict=True):
        place = os.path.join(train.root, name)
        kinds, empty = survey.ignored.get(place, Counter()), survey.empty[place]
        if listed:
            files = f"; {counted(empty, 'empty file')}" if empty else ""
            few += [f"{printable(name)!r} ({listed - empty}{files})"] * (listed - empty < needed)
            continue
        heic = heic or bool(HEIC & set(kinds))
        where = printable(place) + (f", only {_kinds(kinds)}" if kinds else "")
        problems.append(f"Class {printable(name)!r} has no images to train on: there are none in {where}.")
    for split, listed in splits.items():
        if not len(listed):
            problems.append(f"The {split} split has no images: there are none in {printable(listed.root)}.")
            if loose := [path for path in survey.loose if os.path.dirname(path) == listed.root]:
                problems.append(f"It holds {counted(len(loose), 'picture')} that must lie in class folders.")
    if heic:
        problems.append(HEIC_ADVICE)
    if problems and few:
        problems.append(f"Fewer than {needed} images that can be read are in {', '.join(few)}.")
    if problems:
        raise survey.refusal(*problems)
