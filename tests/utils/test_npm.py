"""Files of npm packages: from the registry that npm is set to, verified, kept, and explained when unavailable."""

import base64
import hashlib
import io
import tarfile

import pytest

from transfer_utils.errors import UserError
from transfer_utils.utils.npm import Package, package_files

pytestmark = pytest.mark.usefixtures("one_round")


def tarball(**files: str) -> bytes:
    """Return a package with these files, and with one that leads out of it."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as archive:
        for name, text in {"../../outside": "x", **files}.items():
            member = tarfile.TarInfo(f"package/{name}")
            member.size = len(text)
            archive.addfile(member, io.BytesIO(text.encode()))
    return content.getvalue()


CONTENT = tarball(first="one", second="two")


def package(content: bytes = CONTENT) -> Package:
    digest = base64.b64encode(hashlib.sha512(content).digest()).decode()
    return Package("@scope/thing", "1.2.3", f"sha512-{digest}")


@pytest.fixture
def registry(file_server, monkeypatch):
    """Return a server that npm is set to as its registry; it sends the package, whatever it is asked for."""
    server = file_server(CONTENT)
    monkeypatch.setenv("npm_config_registry", f"{server.url}/")
    return server


def test_files_come_from_the_registry_once_and_then_from_the_cache(registry, tmp_path):
    for _ in range(2):
        assert package_files(package(), ["second", "first"], str(tmp_path)) == {"first": b"one", "second": b"two"}
    assert len(registry.requests) == 1
    kept = {path.name for path in (tmp_path / "npm").iterdir()}
    assert kept == {"scope-thing-1.2.3.tgz", "scope-thing-1.2.3.tgz.lock"}
    assert not (tmp_path.parent / "outside").exists()


def test_the_address_is_that_of_npm(monkeypatch):
    monkeypatch.delenv("npm_config_registry", raising=False)
    assert package().address == "https://registry.npmjs.org/@scope/thing/-/thing-1.2.3.tgz"
    monkeypatch.setenv("npm_config_registry", "http://127.0.0.1:1/npm/")
    assert package().address == "http://127.0.0.1:1/npm/@scope/thing/-/thing-1.2.3.tgz"
    assert Package("axe-core", "4.0.0", "").address == "http://127.0.0.1:1/npm/axe-core/-/axe-core-4.0.0.tgz"


def test_another_file_than_the_pinned_one_is_refused_by_its_hash(registry, tmp_path, recwarn):
    with pytest.raises(UserError, match="SHA-512"):
        package_files(package(tarball(first="other")), ["first"], str(tmp_path))
    assert "it sent a file with the SHA-512" in str(recwarn[0].message)
    assert not (tmp_path / "npm" / "scope-thing-1.2.3.tgz").exists()


def test_without_a_registry_the_message_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.delenv("npm_config_registry", raising=False)
    with pytest.raises(UserError) as error:
        package_files(package(), ["first"], str(tmp_path))
    for words in ("@scope/thing 1.2.3", "npm_config_registry", "'npm pack @scope/thing@1.2.3'", str(tmp_path / "npm")):
        assert words in str(error.value)
