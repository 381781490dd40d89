"""LiteRT.js for the tests that need it: from the user's own cache, or else from the npm registry."""

import pytest

from tests.conftest import BEFORE
from transfer_utils.demo.library import library_files
from transfer_utils.errors import UserError
from transfer_utils.utils import download
from transfer_utils.utils.files import CACHE_VARIABLE, cache_folder

PROXIES = ("http_proxy", "https_proxy", "no_proxy")


@pytest.fixture(scope="session")
def library_cache() -> str:
    """Return a cache folder that contains LiteRT.js; skip the test if the registry cannot be reached either."""
    with pytest.MonkeyPatch.context() as patch:
        for name in (CACHE_VARIABLE, *PROXIES, *(proxy.upper() for proxy in PROXIES)):
            patch.delenv(name, raising=False)
            if name in BEFORE:
                patch.setenv(name, BEFORE[name])
        patch.setattr(download, "CONNECT_SECONDS", 5.0)
        patch.setattr(download, "IDLE_ROUNDS", 1)
        folder = str(cache_folder())
        try:
            library_files(folder)
        except UserError as error:
            pytest.skip(f"LiteRT.js is not here: {error}")
    return folder
