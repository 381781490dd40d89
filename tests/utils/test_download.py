"""Downloads reach the address that works, resume, and accept nothing but the expected file."""

import hashlib
import math
import threading
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import numpy as np
import pytest

from tests.servers import FileServer
from transfer_utils.errors import UserError
from transfer_utils.utils import disk, download, files

pytestmark = pytest.mark.usefixtures("one_round")
FILE = np.random.default_rng(0).bytes(1_000_000)
WRONG = FILE[:500_000] + bytes([FILE[500_000] ^ 1]) + FILE[500_001:]
SHA256 = hashlib.sha256(FILE).hexdigest()


@pytest.fixture
def clock(monkeypatch):
    """Return a function that makes a progress hook by which what a server sends takes the time of its rate.

    Only a server that sends nothing is waited for by the real clock.
    """
    now, position = [0.0], [0]
    monkeypatch.setattr(download, "WINDOW_SECONDS", 3.0)
    monkeypatch.setattr(download, "time", SimpleNamespace(monotonic=lambda: now[0]))

    def paced(*rates: tuple[FileServer, float]):
        def progress(title: str, done: int, total: int, unit: str) -> None:
            rate = next((rate for server, rate in rates if title.endswith(host(server))), math.inf)
            now[0] += max(0, done - position[0]) / rate
            position[0] = done

        return progress

    return paced


@pytest.fixture
def serve(file_server):
    return lambda content=FILE, **behaviour: file_server(content, **behaviour)


def fetch(path, *addresses: FileServer | str, checksum: str = SHA256, **options) -> bytes:
    urls = [address if isinstance(address, str) else address.url for address in addresses]
    download.download(path, urls, "the file", "Put it there.", checksum=checksum, **options)
    return path.read_bytes()


def host(server: FileServer) -> str:
    return server.url.split("/")[2]


@pytest.mark.slow
@pytest.mark.fault(32)
def test_the_good_address_is_reached_past_those_that_trickle_hang_break_or_send_another_file(
    serve, clock, tmp_path, recwarn
):
    steps = []
    slow, trickle = serve(), serve()
    hanging, cut = serve(stops_after=0, hangs=True), serve(stops_after=100_000)
    wrong, good = serve(WRONG), serve()
    bad = (slow, trickle, hanging, cut, wrong)
    paced = clock((slow, 50_000), (trickle, 100))
    assert fetch(tmp_path / "file", *bad, good, progress=lambda *step: steps.append(step) or paced(*step)) == FILE
    assert sorted(file.name for file in tmp_path.iterdir()) == ["file", "file.lock"]
    assert [len(server.requests) for server in (*bad, good)] == [1, 1, 1, 1, 2, 1]
    positions = [int(server.requests[0].removeprefix("bytes=")[:-1]) for server in bad[1:]]
    assert positions[1] < 300_000, "slow and trickle were left after the first window"
    assert 0 < positions[0] < positions[1] == positions[2] == positions[3] - 100_000, "each resumed where one stopped"
    # Others had sent a part of the first file with a wrong SHA-256, so the server is asked for all of it to be judged.
    assert wrong.requests[1] is None and good.requests == [None]
    [warning] = [str(warning.message) for warning in recwarn]
    assert warning.startswith(f"{host(wrong)} is not used: it sent a file with the SHA-256 ")
    assert {title for title, *_ in steps} == {f"Downloading the file from {host(server)}" for server in (*bad, good)}
    assert steps[-1] == (f"Downloading the file from {host(good)}", 1_000_000, 1_000_000, "bytes")


@pytest.mark.fault(32)
def test_if_all_addresses_are_slow_the_fastest_continues_without_a_minimum(serve, clock, tmp_path):
    slow, faster = serve(), serve()
    assert fetch(tmp_path / "file", slow, faster, progress=clock((slow, 20_000), (faster, 100_000))) == FILE
    assert len(slow.requests) == 1 and len(faster.requests) == 2
    first, second = (int(asked.removeprefix("bytes=")[:-1]) for asked in faster.requests)
    assert 0 < first < second


@pytest.mark.fault(32)
def test_a_single_address_has_no_minimum_and_resumes_after_each_interruption(serve, tmp_path):
    server = serve(stops_after=400_000)
    assert fetch(tmp_path / "file", server) == FILE
    assert server.requests == [None, "bytes=400000-", "bytes=800000-"]


@pytest.mark.fault(32)
@pytest.mark.parametrize(
    ("left", "requests"),
    [
        (FILE[:300_000], ["bytes=300000-"]),
        (FILE, ["bytes=1000000-"]),
        (WRONG[:600_000], ["bytes=600000-", None]),
        (FILE + b"more", ["bytes=1000004-", None]),
    ],
    ids=["a part", "all of it", "wrong bytes", "too much"],
)
def test_what_an_earlier_process_received_is_used_and_checked(serve, tmp_path, monkeypatch, recwarn, left, requests):
    monkeypatch.setattr(download, "IDLE_ROUNDS", 2)
    monkeypatch.setattr(download.time, "sleep", lambda seconds: None)
    (tmp_path / "file.part").write_bytes(left)
    server = serve()
    assert fetch(tmp_path / "file", server) == FILE
    assert server.requests == requests
    assert not recwarn.list, "the server is not blamed for the bytes of others"


@pytest.mark.parametrize("checksum", [SHA256, ""])
def test_an_empty_answer_is_no_file_and_another_address_is_asked(serve, tmp_path, checksum):
    empty, good = serve(b""), serve()
    assert fetch(tmp_path / "file", empty, good, checksum=checksum) == FILE
    with pytest.raises(UserError, match=f"{host(empty)}: it sent an empty file"):
        fetch(tmp_path / "other", empty, checksum=checksum)


def test_a_server_that_always_starts_over_is_not_appended(serve, tmp_path):
    (tmp_path / "file.part").write_bytes(FILE[:300_000])
    server = serve(ranges=False)
    assert fetch(tmp_path / "file", server) == FILE
    assert server.requests == ["bytes=300000-"], "what it sent was put in the place of the part, and not after it"


@pytest.mark.fault(32)
def test_a_web_page_is_not_taken_for_the_file_and_what_was_received_stays(serve, tmp_path):
    (tmp_path / "file.part").write_bytes(FILE[:300_000])
    login = serve(b"<html>Log in", ranges=False, content_type="text/html; charset=utf-8")
    with pytest.raises(UserError, match="it sent a web page, perhaps one to log in"):
        fetch(tmp_path / "file", login)
    assert fetch(tmp_path / "file", login, serve()) == FILE


def test_certificates_that_are_not_there_are_named(tmp_path, monkeypatch):
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "none.pem"))
    with pytest.raises(UserError, match=r"Could not find a suitable TLS CA certificate bundle.*none\.pem"):
        fetch(tmp_path / "file", "https://127.0.0.1:9/file")


@pytest.mark.fault(32)
def test_an_error_lists_what_happened_at_each_address_without_its_password(serve, tmp_path):
    missing, wrong = serve(status=404), serve(WRONG)
    secret = "http://me:secret@127.0.0.1:9/file"
    with pytest.warns(UserWarning, match="is not used"), pytest.raises(UserError) as error:
        fetch(tmp_path / "file", missing, secret, "nonsense", wrong)
    message = str(error.value)
    assert message.startswith("No copy of the file is on this machine, and it could not be downloaded (")
    assert f"{host(missing)}: status 404; 127.0.0.1:9: ConnectionError; nonsense: MissingSchema" in message
    assert f"{host(wrong)}: a file with the SHA-256 " in message and message.endswith("). Put it there.")
    assert "secret" not in message and "\n" not in message
    assert not (tmp_path / "file").exists()


def test_a_damaged_file_is_named_and_kept_beside_under_a_new_name(serve, tmp_path):
    path = tmp_path / "file"
    for number, name in enumerate(("file.damaged", "file.damaged-2")):
        path.write_bytes(b"damaged %d" % number)
        with pytest.warns(UserWarning, match=rf"file is damaged \(its SHA-256 is wrong; it is now named {name}\)"):
            assert fetch(path, serve()) == FILE
        assert (tmp_path / name).read_bytes() == b"damaged %d" % number


def test_a_file_that_does_not_fit_on_the_disk_is_not_downloaded(serve, tmp_path, monkeypatch):
    monkeypatch.setattr(disk, "free_bytes", lambda folder: 500_000)
    server = serve()
    with pytest.raises(UserError, match=r"needs 1\.0 MB more, but only 500\.0 kB"):
        fetch(tmp_path / "file", server, server)
    assert server.requests == [None] and not list(tmp_path.glob("file*[!k]"))


@pytest.mark.fault(32)
def test_a_second_download_waits_and_shares_the_file(serve, tmp_path, monkeypatch):
    server, lock, both_ask = serve(), files.lock, threading.Barrier(2, timeout=60)
    monkeypatch.setattr(files, "lock", lambda path: (both_ask.wait(), lock(path))[1])
    with ThreadPoolExecutor() as pool:  # each with a lock of its own, as in two processes
        both = [pool.submit(fetch, tmp_path / "file", server) for _ in range(2)]
        assert [one.result(60) for one in both] == [FILE, FILE]
    assert server.requests == [None]
