"""Every test runs by itself: in a folder of its own, with the session's own caches, without a network, repeatably."""

import os
import shutil
import signal
import socket
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.database import DirectoryBasedExampleDatabase

from tests.survival import Survival

# Set before anything imports Keras or matplotlib, which read them once; child processes inherit them.
CACHES = Path(tempfile.mkdtemp(prefix="transfer-utils-tests-"))
BLOCKED = ("127.0.0.1", 9)  # the discard port: nothing listens there
PROXY = "http://{}:{}".format(*BLOCKED)
os.environ |= {
    "TRANSFER_UTILS_CACHE": str(CACHES / "cache"),
    "KERAS_HOME": str(CACHES / "keras"),
    "MPLCONFIGDIR": str(CACHES / "matplotlib"),
    "MPLBACKEND": "Agg",
    "TF_CPP_MIN_LOG_LEVEL": "2",
}
# A child process asks the proxy for whatever lies outside this machine, and finds none.
os.environ |= dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), PROXY)
os.environ |= dict.fromkeys(("no_proxy", "NO_PROXY"), "localhost,127.0.0.1,::1")

ROOT = Path(__file__).parents[1]
settings.register_profile(
    "project",
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile(
    "torture",
    deadline=None,
    max_examples=2000,
    database=DirectoryBasedExampleDatabase(ROOT / ".hypothesis" / "examples"),
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("project")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--tally", help="write what the tests of faults tried and lost to this file")


def pytest_configure(config: pytest.Config) -> None:
    """Leave out the long repetitions, unless markers are asked for, as ``make torture`` does."""
    config.option.markexpr = config.option.markexpr or "not torture"
    path = config.getoption("--tally")
    config.pluginmanager.register(Survival(path and config.invocation_params.dir / path), "survival")
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # so a shell starts what it puts in the background
        signal.signal(signal.SIGINT, signal.default_int_handler)  # else the commands under test would ignore it too


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the notebooks, which take longest, so that two workers end at about the same time."""
    items.sort(key=lambda item: item.get_closest_marker("course") is None)


def pytest_unconfigure() -> None:
    shutil.rmtree(CACHES, ignore_errors=True)


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture(autouse=True)
def _terminate_as_before() -> Iterator[None]:
    """Undo what the command line, run in this process, does about SIGTERM."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.fixture
def tally(record_property) -> Callable[..., None]:
    """Return a function that says how often the test of a fault tried, and how often something was lost."""

    def tell(tried: int, lost: int = 0) -> None:
        record_property("tried", tried)
        record_property("lost", lost)

    return tell


class NetworkBlocked(OSError):
    """A test asked for something outside this machine. An OSError, because that is what a dead network raises."""


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def guard(address: object) -> None:
        outside = isinstance(address, tuple) and (not _is_loopback(address[0]) or address[:2] == BLOCKED)
        if outside:
            raise NetworkBlocked(f"a test must not use the network, and this one asked for {address}")

    def guarded(original):
        def connect(self, address):
            guard(address)
            return original(self, address)

        return connect

    def getaddrinfo(host, port, *rest, **options):
        guard((host, port))
        return resolve(host, port, *rest, **options)

    resolve = socket.getaddrinfo
    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    monkeypatch.setattr(socket.socket, "connect", guarded(socket.socket.connect))
    monkeypatch.setattr(socket.socket, "connect_ex", guarded(socket.socket.connect_ex))


def _is_loopback(host: object) -> bool:
    name = host.decode() if isinstance(host, bytes) else host
    return name in (None, "", "localhost", "::1", "0.0.0.0", "::") or str(name).startswith("127.")


@pytest.fixture
def small_record():
    """Return the record of a small completed run: two stages of three epochs, three classes, ten test images each."""
    from transfer_utils.config import preset
    from transfer_utils.records import RunRecord, pack_bits

    correct = [True] * 24 + [False] * 6
    curve = {"loss": [1.2, 0.9, 0.7], "accuracy": [0.5, 0.6, 0.7], "val_loss": [1.3, 1.0, 0.9]}
    metrics = ("val_end2end", "val_low", "val_high", "test_end2end", "test_low", "test_high")
    curve |= {"val_accuracy": [0.45, 0.55, 0.65], "learning_rate": [1e-3] * 3, "seconds": [2.0, 1.5, 1.5]}
    return RunRecord(
        run_id="offline-0",
        created="2026-03-01T12:00:00Z",
        command="transfer-utils train --preset offline",
        config=preset("offline").model_dump(),
        dataset={"description": "digits on photographs", "class_names": ["0", "1", "2"]},
        curves={"stage1": curve, "stage2": curve},
        metrics=dict(zip(metrics, (0.78, 0.6, 0.89, 0.8, 0.63, 0.9), strict=True)),
        timing_sec={"stage1": 5.0, "stage2": 5.0, "total": 11.0},
        confusion_matrix=[[8, 1, 1], [1, 8, 1], [1, 1, 8]],
        test_correct=pack_bits(correct),
    )


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of twelve runs of every kind and two old logs; read it, and leave it as it is."""
    from tests import samples

    return samples.write_samples(tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="session")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the runs of a whole study; read it, and leave it as it is."""
    from tests import samples

    return samples.write_study(tmp_path_factory.mktemp("study"))


@pytest.fixture
def view(runs: Path):
    """Return what the dashboard reads from ``runs``."""
    from transfer_utils.dashboard import store

    return store.read(runs, store.stamp(runs))


@pytest.fixture
def row(view):
    """Return a function that gives one of the ``runs`` by its name, as a row of the table."""
    return lambda name: view.named([name])[0]
