"""The command line, with the backbone of ``tests/tiny.py``, on a disk that is full from the moment a file is begun.

    python -m tests.full_disk model.h5 train     full once a file with model.h5 in its name is opened for writing

From then on nothing can be written: the limit on the size of files (RLIMIT_FSIZE) is 0. Pipes are not affected.
"""

import os
import resource
import sys

from tests.tiny import backbone
from transfer_utils.utils import files


def fill_disk() -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))


def fill_disk_at(name: str) -> None:
    """Arrange that the disk is full from the first opening of a file with this part of a name."""
    replacing = files.replacing

    def watched(path, *rest):  # HDF5 opens its files without Python's knowledge
        if name in os.path.basename(path):
            fill_disk()
        return replacing(path, *rest)

    def look(event: str, arguments: tuple) -> None:
        if event != "open" or not arguments[2] & (os.O_WRONLY | os.O_RDWR):
            return
        if name in os.path.basename(os.fsdecode(arguments[0]) if not isinstance(arguments[0], int) else ""):
            fill_disk()

    files.replacing = watched
    sys.addaudithook(look)


if __name__ == "__main__":
    fill_disk_at(sys.argv[1])  # before other modules import ``replacing``
    import keras

    from transfer_utils.cli.main import main

    keras.applications.MobileNetV2 = backbone
    sys.exit(main(sys.argv[2:]))
