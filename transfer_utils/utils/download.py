"""Download of one file from the first of several addresses that is fast enough, resumed where it stopped.

Pooch is not used: it deletes what a failed attempt has received, and hides the status of the response, without which a
resumed transfer cannot be told from one that starts over.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

from transfer_utils.errors import UserError
from transfer_utils.utils import files
from transfer_utils.utils.disk import check_disk
from transfer_utils.utils.progress import Progress, notebook_progress
from transfer_utils.utils.text import format_bytes, printable

if TYPE_CHECKING:
    import requests

MIN_RATE = 300_000.0  # bytes per second: a slower address is left while others are untried
WINDOW_SECONDS = 20.0  # over which the rate is measured, and after which a silent address is left
CONNECT_SECONDS = 10.0
IDLE_ROUNDS = 3  # rounds through all addresses without a new byte, until the download fails
BLOCK = 1 << 16  # bytes that are read at a time, at most


def download(
    path: Path,
    addresses: Sequence[str],
    name: str,
    advice: str,
    *,
    checksum: str = "",
    progress: Progress | None = None,
) -> None:
    """Download the file ``path`` unless it is there; other processes that want it wait, and find it there.

    The addresses are tried in order, each until it fails, is silent or stays under ``MIN_RATE`` for ``WINDOW_SECONDS``.
    What was received stays in ``<name>.part`` beside ``path``; the next address continues there, and so does the next
    call. After the last address the fastest one continues, without a minimum rate.

    Args:
        name: of the file, for messages and the progress bar.
        advice: the last sentences of the error message: what the user can do.
        checksum: SHA-256 or SHA-512 of the file, 64 or 128 hex digits. Without it, only the length is checked.
        progress: called with a title, the bytes received, all bytes, and ``"bytes"``. In a notebook, the default is a
            line below the cell.

    Raises:
        UserError: no address sent the file, or the disk is too full for it.

    Warns:
        UserWarning: the file at ``path`` was damaged and has been renamed, or an address sent another file.
    """
    expected = _Checksum(checksum.lower())
    if path.exists() and not expected.differs(path):  # nothing is written, so the folder may be read-only
        return
    with files.lock(path):
        if path.exists() and not expected.differs(path):
            return
        missing = f"No copy of {name} is on this machine"
        if path.exists():
            missing = f"{path} is damaged (its {expected.label} is wrong; it is now named {files.set_aside(path).name})"
            warnings.warn(f"{missing}.", stacklevel=2)
        transfer = _Transfer(path, name, expected, progress or notebook_progress() or (lambda *step: None))
        if not transfer.run(addresses):
            reasons = "; ".join(f"{_host(address)}: {reason}" for address, reason in transfer.problems.items())
            raise UserError(f"{missing}, and it could not be downloaded ({reasons}). {advice}")
        files.move_into_place(transfer.part, path)


class _Checksum(NamedTuple):
    """The expected checksum of a file as hex digits, whose number tells the algorithm; none if empty."""

    digits: str

    @property
    def label(self) -> str:
        return f"SHA-{4 * len(self.digits)}"

    def differs(self, path: Path) -> str:
        """Return the checksum of a file if it is another one, else an empty text."""
        digits = files.checksum_of(path, f"sha{4 * len(self.digits)}") if self.digits else ""
        return digits if digits != self.digits else ""


class _Left(Exception):
    """An address is left for the next one; the message says why."""


class _WrongFile(_Left):
    """An address sent another file than the expected one."""


class _Transfer:
    """One file in transfer.

    Attributes:
        part: the file that receives the bytes.
        problems: for each address that was left, why.
    """

    def __init__(self, path: Path, name: str, checksum: _Checksum, progress: Progress):
        self.part = path.with_name(path.name + ".part")
        self.problems: dict[str, str] = {}
        self._name, self._checksum, self._progress = name, checksum, progress
        self._senders = {""}  # the addresses that sent what ``part`` holds; at first, that of an earlier process
        self._rates: dict[str, float] = {}  # bytes per second of each address, when last used

    def run(self, addresses: Sequence[str]) -> bool:
        """Fetch the file into ``part``; return whether that succeeded."""
        remaining = list(addresses)
        min_rate = MIN_RATE if len(remaining) > 1 else 0.0
        most, idle = self._received(), 0
        while remaining and idle < IDLE_ROUNDS:
            if idle:
                time.sleep(2 ** (idle - 1))
            before = most
            for address in sorted(remaining, key=lambda address: -self._rates.get(address, 0.0)):
                try:
                    self._fetch(address, min_rate)
                    return True
                except _Left as problem:
                    self.problems[address] = str(problem)
                    if isinstance(problem, _WrongFile):
                        remaining.remove(address)
                        warnings.warn(f"{_host(address)} is not used: it sent {problem} as {self._name}.", stacklevel=4)
                most = max(most, self._received())
            min_rate = 0.0
            idle = 0 if most > before else idle + 1
        return False

    def _received(self) -> int:
        return self.part.stat().st_size if self.part.exists() else 0

    def _fetch(self, address: str, min_rate: float) -> None:
        """Receive the rest of the file from ``address`` and check the checksum of all of it."""
        self._receive(address, min_rate)
        digits = self._checksum.differs(self.part)
        if not digits:
            return
        alone = self._senders == {address}
        self.part.unlink()
        if alone:
            label, expected = self._checksum.label, self._checksum.digits
            raise _WrongFile(f"a file with the {label} {digits[:12]}… instead of {expected[:12]}…")
        self._fetch(address, min_rate)  # from the start: the wrong bytes may be those of an earlier address

    def _receive(self, address: str, min_rate: float) -> None:
        """Append what ``address`` sends to ``part`` until the file is complete.

        Raises:
            _Left: it fails, is silent, stays under ``min_rate`` bytes per second, or ends early.
            UserError: the disk is too full.
        """
        import requests  # here: only a download needs it
        from urllib3.exceptions import HTTPError

        done = self._received()
        # The length and the position of compressed content would not be those of the file.
        headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={done}-"} if done else {})
        timeout = (CONNECT_SECONDS, WINDOW_SECONDS)
        started, start = time.monotonic(), done
        try:
            with _asked(address, headers=headers, stream=True, timeout=timeout) as response:
                start, total = self._position(response, done)
                if start < total:
                    check_disk(self.part.parent, total - start, "Make room there.", what="The download")
                    self._append(response, address, start, total, min_rate)
        except (requests.RequestException, HTTPError) as error:
            raise _Left(type(error).__name__) from None
        finally:
            gained = max(0, self._received() - start)
            self._rates[address] = gained / max(time.monotonic() - started, 1e-6)

    def _position(self, response: requests.Response, done: int) -> tuple[int, int]:
        """Return the position of the first byte of the response in the file, and the length of the file."""
        status, content_range = response.status_code, response.headers.get("Content-Range", "")
        if done and status == 416:  # "range not satisfiable": there is nothing after the first ``done`` bytes
            if content_range == f"bytes */{done}":
                return done, done
            self.part.unlink()
            raise _Left("its file is shorter than what was received before")
        if status not in (200, 206):
            raise _Left(f"status {status}")
        if response.headers.get("Content-Type", "").startswith("text/html"):
            raise _Left("it sent a web page, perhaps one to log in")
        length = response.headers.get("Content-Length", "")
        if not length.isdecimal():
            raise _Left("it does not state the length of the file")
        if not int(length):
            raise _Left("it sent an empty file")
        start = done if status == 206 else 0  # 200: this server always starts over
        if status == 206 and not content_range.startswith(f"bytes {done}-"):
            raise _Left("it sent another part than the missing one")
        return start, start + int(length)

    def _append(self, response: requests.Response, address: str, start: int, total: int, min_rate: float) -> None:
        title = f"Downloading {self._name} from {_host(address)}"
        self._senders = self._senders | {address} if start else {address}
        done = mark = start
        since = time.monotonic()
        with open(self.part, "ab" if start else "wb") as file:
            self._progress(title, done, total, "bytes")
            # read1 returns what has arrived. A full block would take hours from a server that sends a byte a second.
            while block := response.raw.read1(BLOCK):
                file.write(block)
                done += len(block)
                self._progress(title, done, total, "bytes")
                elapsed = time.monotonic() - since
                if elapsed >= WINDOW_SECONDS:
                    if done - mark < min_rate * elapsed:
                        raise _Left(f"only {format_bytes((done - mark) / elapsed)}/s")
                    since, mark = time.monotonic(), done
        if done < total:
            raise _Left(f"cut off after {format_bytes(done)} of {format_bytes(total)}")


def _asked(address: str, **options: Any) -> requests.Response:
    """Begin a response. Where ``requests`` finds no certificates, it raises an error that is none of its own."""
    import requests  # here: only a download needs it

    try:
        return requests.get(address, **options)
    except requests.RequestException:
        raise
    except OSError as error:
        raise _Left(printable(str(error))) from None


def _host(address: str) -> str:
    """Return the server of an address, without the user name and password that an address may contain."""
    try:
        return printable(urlsplit(address).netloc.rpartition("@")[2] or address)
    except ValueError:  # not an address at all
        return printable(address)
