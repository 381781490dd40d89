#!/bin/sh
# Look every version of the two locks up in the public list of known vulnerabilities, with a pip-audit that is thrown
# away afterwards: it is no part of the project, and must be new to be of use.
set -eu
cd "$(dirname "$0")/.."
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${1:-.venv/bin/python}" -m venv "$folder/venv"
if "$folder/venv/bin/python" -m pip install --quiet pip-audit &&
    "$folder/venv/bin/pip-audit" --strict --disable-pip --require-hashes --progress-spinner off \
        -r requirements.lock -r docs/site/requirements.lock; then
    exit 0
fi
echo "Something was found, or the list could not be reached (see above). The versions that carry the fixes known to this" >&2
echo "project are the lower bounds in pyproject.toml; tests/test_setup.py checks that the lock keeps them." >&2
exit 1
