"""Isolate every test: its own working folder, temporary caches, no network, and reproducible examples."""

import os
import shutil
import signal
import socket
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.database import DirectoryBasedExampleDatabase

from tests.servers import FileServer, start
from tests.survival import Survival

BEFORE = dict(os.environ)  # for the few tests that look for something outside
# Set before Keras and matplotlib are imported, which read these variables once; child processes inherit them.
CACHES = Path(tempfile.mkdtemp(prefix="transfer-utils-tests-"))
BLOCKED = ("127.0.0.1", 9)  # the discard port, on which nothing listens
PROXY = "http://{}:{}".format(*BLOCKED)
os.environ |= {
    "TRANSFER_UTILS_CACHE": str(CACHES / "cache"),
    "KERAS_HOME": str(CACHES / "keras"),
    "MPLCONFIGDIR": str(CACHES / "matplotlib"),
    "MPLBACKEND": "Agg",
    "TF_CPP_MIN_LOG_LEVEL": "2",
}
# Child processes send requests to other machines to this proxy, which does not exist.
os.environ |= dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), PROXY)
os.environ |= dict.fromkeys(("no_proxy", "NO_PROXY"), "localhost,127.0.0.1,::1")

ROOT = Path(__file__).parents[1]
settings.register_profile(
    "project", deadline=None, derandomize=True, database=None, suppress_health_check=[HealthCheck.too_slow]
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
    parser.addoption("--tally", help="write the attempts and losses of the fault tests to this file")


def pytest_configure(config: pytest.Config) -> None:
    """Deselect the long repetitions unless markers are given, and install the plugin that counts faults."""
    config.option.markexpr = config.option.markexpr or "not torture"
    path = config.getoption("--tally")
    config.pluginmanager.register(Survival(path and config.invocation_params.dir / path), "survival")
    # Shells set these for background processes, nohup for all; child processes would inherit them.
    for number, usual in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, usual)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run files with notebooks first and those with slow tests next, so that two workers end at about the same time."""
    for name in ("slow", "course"):
        first = {item.path for item in items if item.get_closest_marker(name)}
        items.sort(key=lambda item: item.path not in first)


def pytest_unconfigure() -> None:
    shutil.rmtree(CACHES, ignore_errors=True)


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture(autouse=True)
def _restore_signals() -> Iterator[None]:
    """Restore the handlers that the command line replaces when it runs in this process."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def one_round(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a download fail after one round through its addresses, without the wait before another."""
    monkeypatch.setattr("transfer_utils.utils.download.IDLE_ROUNDS", 1)


@pytest.fixture
def without_main(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let spawned processes import no main module, in whose place Streamlit puts every page that a test draws."""
    monkeypatch.setitem(sys.modules, "__main__", ModuleType("__main__"))


@pytest.fixture
def tally(record_property) -> Callable[..., None]:
    """Return a function that reports how often the test of a fault tried, and how often something was lost."""

    def report(tried: int, lost: int = 0) -> None:
        record_property("tried", tried)
        record_property("lost", lost)

    return report


@pytest.fixture
def file_server() -> Iterator[Callable[..., FileServer]]:
    """Return a function that starts a ``FileServer`` with a content and a behaviour, and returns it."""
    running = []

    def begin(content: bytes, **behaviour) -> FileServer:
        server = FileServer(content, **behaviour)
        running.append((server, start(server)))
        return server

    yield begin
    for server, httpd in running:
        server.closing.set()
        httpd.shutdown()
        httpd.server_close()


class NetworkBlocked(OSError):
    """A test tried to reach another machine; an OSError, as without a network."""


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def guard(address: object) -> None:
        outside = isinstance(address, tuple) and (not _is_loopback(address[0]) or address[:2] == BLOCKED)
        if outside:
            raise NetworkBlocked(f"a test must not use the network, but it tried to reach {address}")

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
def small_backbone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Replace MobileNetV2 by a backbone of a dozen layers."""
    from tests import tiny

    tiny.use_backbone(monkeypatch)


@pytest.fixture
def small_record():
    """Return the record of a completed run: two stages of three epochs, three classes with ten test images each."""
    from transfer_utils.config.options import preset
    from transfer_utils.records.record import RunRecord, pack_bits

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
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Yield a folder of twelve runs, one of them in progress, and two old logs, which tests must not change."""
    from tests import samples
    from transfer_utils.utils.files import lock

    folder = samples.write_samples(tmp_path_factory.mktemp("runs"))
    with lock(folder / samples.RUNNING / "run.json"):
        yield folder


@pytest.fixture(scope="session")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with all runs of a study, which tests must not change."""
    from tests import samples

    return samples.write_study(tmp_path_factory.mktemp("study"))


@pytest.fixture
def view(runs: Path):
    """Return the dashboard's view of ``runs``."""
    from transfer_utils.dashboard import store

    return store.read(runs)


@pytest.fixture
def row(view):
    """Return a function that returns one of the ``runs``, given its name, as a row of the table."""
    return lambda name: view.named([name])[0]
