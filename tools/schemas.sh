#!/bin/sh
# Check the files that other tools read, and that no test can run here, against their schemas. Nothing is downloaded:
# check-jsonschema brings those of GitHub and of the citation format, and tools/schemas holds the others.
set -u
cd "$(dirname "$0")/.."
python=${1:-.venv/bin/python}
status=0
check() {
    report=$("$python" -m check_jsonschema --default-filetype yaml "$@" 2>&1) || {
        status=1
        echo "$report"
    }
}
check --builtin-schema vendor.github-workflows .github/workflows/*.yml
check --builtin-schema vendor.citation-file-format CITATION.cff
check --schemafile tools/schemas/devcontainer.json .devcontainer/devcontainer.json
check --schemafile tools/schemas/environment.json environment.yml
check --schemafile tools/schemas/pre-commit.json .pre-commit-config.yaml
exit "$status"
