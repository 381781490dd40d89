#!/bin/sh
# Make .venv hold exactly the packages of requirements.lock, and this package, editable. Called by every make target.
# With the argument "site", also make .venv/site hold the packages that only the site needs.
# A stamp is written only after an install that went through, so a half-finished one is made again from nothing.
set -eu
cd "$(dirname "$0")/.."

fail() {
    echo "$*" >&2
    exit 1
}

find_python() { # the first that runs (a pyenv shim may exist and fail), fits, and can make a virtual environment
    # Not that of an activated .venv, which is about to be removed.
    PATH=${PATH#"$folder/.venv/bin:"}
    fits="import os, sys; own = os.path.realpath(sys.prefix) == os.path.realpath('.venv')
sys.exit(own or not (3, 10) <= sys.version_info[:2] <= (3, 13))"
    problem="Python 3.10 to 3.13 is needed and none was found: install one, or name it: make PYTHON=/path/to/python3.12"
    if [ -n "${PYTHON:-}" ]; then
        set -- "$PYTHON"
        problem="Python 3.10 to 3.13 from outside of .venv is needed, and PYTHON names another or none: $PYTHON"
    else
        set -- python3 python3.13 python3.12 python3.11 python3.10 python
    fi
    for name; do
        "$name" -c "$fits" >/dev/null 2>&1 || continue
        "$name" -c 'import venv, ensurepip' >/dev/null 2>&1 && return
        problem="$name cannot make virtual environments; on Debian and Ubuntu: sudo apt install python3-venv"
    done
    fail "$problem"
}

version_of() {
    "$1" -c 'import platform; print(platform.python_version())' 2>/dev/null
}

folder=$(pwd)
wanted="$folder $(cksum <requirements.lock)"
if [ "$(cat .venv/packages.stamp 2>/dev/null)" != "$wanted" ] || ! .venv/bin/python -c 'import pip' 2>/dev/null ||
    { [ -n "${PYTHON:-}" ] && [ "$(version_of "$PYTHON")" != "$(version_of .venv/bin/python)" ]; }; then
    find_python
    echo "Installing the packages of requirements.lock into .venv, for Python $(version_of "$name") (a few minutes, once) ..."
    rm -rf .venv
    "$name" -m venv .venv || fail "No virtual environment could be made in $folder/.venv (see above)."
    mkdir -p .venv/home
    # The lock is complete, so pip need not look for dependencies: --no-deps. Not --no-compile, although compiling takes half
    # of the time: where PYTHONDONTWRITEBYTECODE is set, every import of Keras would then take 8 seconds longer.
    .venv/bin/python -m pip install --quiet --require-hashes --no-deps -r requirements.lock ||
        fail "The packages could not be installed (see above). Check the network and 4 GB of disk, then try again."
    echo "$wanted" >.venv/packages.stamp
fi

wanted=$(cksum <pyproject.toml)
if [ "$(cat .venv/editable.stamp 2>/dev/null)" != "$wanted" ]; then
    .venv/bin/python -m pip install --quiet --no-build-isolation --no-deps --editable . ||
        fail "The package itself could not be installed (see above)."
    echo "$wanted" >.venv/editable.stamp
fi

# Only `make site` puts this folder on Python's path, so that everything else sees the packages of requirements.lock alone.
if [ "${1:-}" = site ]; then
    wanted=$(cksum <docs/site/requirements.lock)
    if [ "$(cat .venv/site/packages.stamp 2>/dev/null)" != "$wanted" ]; then
        .venv/bin/python -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
            fail "The site needs Python 3.11 or newer: remove .venv, and name one: make PYTHON=/path/to/python3.12 site"
        rm -rf .venv/site
        mkdir -p .venv/site
        .venv/bin/python -m pip install --quiet --require-hashes --no-deps --target .venv/site \
            -r docs/site/requirements.lock || fail "The packages of the site could not be installed (see above)."
        echo "$wanted" >.venv/site/packages.stamp
    fi
fi
