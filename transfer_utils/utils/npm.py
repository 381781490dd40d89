"""Files of npm packages: downloaded once at a pinned version and checked by the hash that npm itself publishes."""

from __future__ import annotations

import base64
import os
import tarfile
from collections.abc import Iterable
from typing import NamedTuple

from transfer_utils.errors import UserError
from transfer_utils.utils.download import download
from transfer_utils.utils.files import cache_folder
from transfer_utils.utils.progress import Progress

REGISTRY_VARIABLE = "npm_config_registry"  # the variable by which npm itself is set to another registry
REGISTRY = "https://registry.npmjs.org"


class Package(NamedTuple):
    """One version of an npm package.

    Attributes:
        name: such as ``@litertjs/core``.
        integrity: of its tarball, as npm's metadata and lock files state it: ``sha512-`` and 64 bytes in base64.
    """

    name: str
    version: str
    integrity: str

    @property
    def address(self) -> str:
        """The address of the tarball in the registry that npm is set to."""
        registry = os.environ.get(REGISTRY_VARIABLE) or REGISTRY
        return f"{registry.rstrip('/')}/{self.name}/-/{self.name.rpartition('/')[2]}-{self.version}.tgz"

    @property
    def file_name(self) -> str:
        """The name under which ``npm pack`` saves the tarball."""
        return f"{self.name.removeprefix('@').replace('/', '-')}-{self.version}.tgz"


def package_files(
    package: Package, names: Iterable[str], cache_dir: str = "", progress: Progress | None = None
) -> dict[str, bytes]:
    """Return the content of some files of a package, by their paths in it such as ``dist/index.js``.

    The tarball is downloaded once and kept in the cache folder.

    Raises:
        UserError: it is neither in the cache nor available from the registry, or the cache folder is not writable.
    """
    path = cache_folder(cache_dir) / "npm" / package.file_name
    name = f"{package.name} {package.version}"
    advice = (
        f"Set {REGISTRY_VARIABLE} to a registry of npm packages that this machine reaches. Or run 'npm pack "
        f"{package.name}@{package.version}' on another machine and put its {package.file_name} into {path.parent}."
    )
    checksum = base64.b64decode(package.integrity.removeprefix("sha512-")).hex()
    try:
        download(path, [package.address], name, advice, checksum=checksum, progress=progress)
    except OSError as error:
        raise UserError(f"{name} cannot be stored in {path.parent}: {error.strerror or error}.") from None
    names, contents = set(names), {}
    with tarfile.open(path) as archive:
        for member in archive:  # in the order of the archive: to go back, its compression would have to start over
            inner = member.name.partition("/")[2]  # every path starts with the same folder
            if inner in names:
                contents[inner] = archive.extractfile(member).read()
    return contents
