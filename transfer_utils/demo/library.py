"""LiteRT.js (Apache License 2.0), which runs LiteRT files in a browser: the files of it that a page needs."""

from __future__ import annotations

from transfer_utils.utils.npm import Package, package_files
from transfer_utils.utils.progress import Progress

CORE = Package(
    "@litertjs/core",
    "2.5.3",
    "sha512-PlGmbMOq9WitX7FO0jhbdJw9GthatsyuCQXjTt/wJZo0FLaw48q4tz8IwqgqCIkviYGr9OFDL1kCnN4nzWoyJQ==",
)
LOADER = Package(  # the only package that the first one imports
    "@litertjs/wasm-utils",
    "2.5.3",
    "sha512-4fJiw6tBQnIs+0jH/OQ16nYOiSl8/+zZnn5h2ul8aTKHi05sVqZW580Tmk78pC2kT39A9OYBVdFawteZ/sI1kQ==",
)
# For browsers with and without relaxed SIMD. Both run in one thread: a browser shares memory between threads only on
# pages of a server that sends the headers of cross-origin isolation, which a plain web server does not.
BUILDS = ("litert_wasm_internal", "litert_wasm_compat_internal")
IMPORT = 'from "@litertjs/wasm-utils"'
NOTICE = f"""\
{CORE.name} and {LOADER.name}, version {CORE.version}: https://www.npmjs.com/package/{CORE.name}
Copyright Google LLC. Licensed under the Apache License, Version 2.0: https://www.apache.org/licenses/LICENSE-2.0
Changed: index.js imports its loader by the path of the file, and comments that name source maps are left out.
"""


def library_files(cache_dir: str = "", progress: Progress | None = None) -> dict[str, bytes]:
    """Return LiteRT.js as the files of one folder, by name; ``index.js`` is the module to import.

    Raises:
        UserError: the library is neither in the cache nor available from the npm registry.
    """
    module, binaries = "dist/index.js", [f"wasm/{name}{suffix}" for name in BUILDS for suffix in (".js", ".wasm")]
    core = package_files(CORE, [module, *binaries], cache_dir, progress)
    loader = package_files(LOADER, [module], cache_dir, progress)[module]
    text = core[module].decode()
    if text.count(IMPORT) != 1:
        raise ValueError(f"{CORE.name} {CORE.version} does not import {LOADER.name} as expected")
    scripts = {"index.js": text.replace(IMPORT, 'from "./loader.js"'), "loader.js": loader.decode()}
    files = {name: _without_source_map(script).encode() for name, script in scripts.items()}
    return files | {name.removeprefix("wasm/"): core[name] for name in binaries} | {"NOTICE": NOTICE.encode()}


def _without_source_map(script: str) -> str:
    """Leave out the line that makes developer tools ask for a file that is not there."""
    return "".join(line for line in script.splitlines(keepends=True) if not line.startswith("//# sourceMappingURL="))
