# Every target sets itself up first (tools/setup.sh): all it needs is make and Python 3.10 to 3.13.

# Chapter 5 repeats its contest on two draws of images instead of three: it is the longest of the eight.
COURSE := course --preset offline -p draws 2
LOCK_FLAGS :=

# Other people's packages, and a virtual environment that happens to be active, stay out of ours.
unexport PYTHONPATH PYTHONHOME VIRTUAL_ENV PIP_USER PIP_TARGET PIP_PREFIX
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PYTHON

# Where the home folder is missing or read-only, one under .venv stands in for it.
ifneq ($(shell test -w "$$HOME" && echo writable),writable)
export HOME := $(CURDIR)/.venv/home
endif

python := .venv/bin/python

help: ## print this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "%-10s%s\n", $$1, $$2}' Makefile

course: setup ## run the course on the data that ships with it: no network, no GPU
	@$(python) -m transfer_utils $(COURSE)

lab: setup ## open the first notebook in JupyterLab
	@$(python) -m jupyter lab notebooks/01_data_preparation.ipynb

publish: setup ## run the notebooks on CIFAR-10 and keep their outputs and figures (DATA_DIR=folder instead of a download)
	@TRANSFER_UTILS_DATA_DIR="$(DATA_DIR)" $(python) -m transfer_utils course --publish

test: setup ## run the tests, two at a time, including notebooks and a browser
	@$(python) -m pytest -n 2 --dist loadfile --no-loadscope-reorder

quick: setup ## run the fast tests, without training, kernel or browser
	@$(python) -m pytest -n 2 --dist loadfile -m "not slow and not torture"

notebooks: setup ## of the tests, only: every notebook, by papermill and by nbval, and the solutions of its exercises
	@$(python) -m pytest -m course

browser: setup ## of the tests, only: the dashboard in a real Chromium
	@$(python) -m pytest -m browser

pictures: setup ## take the pictures of the dashboard in the README again
	@$(python) -m tests.dashboard.screenshots figures --runs runs \
	    --chosen 0402-cifar10-small-transfer 0381-cifar10-small-baseline

waits: setup ## measure again how long a reader of the dashboard waits, on a quiet machine, and renew the table in docs/speed.md
	@$(python) -m benchmarks.dashboard
	@$(python) -m tools.tables . runs

torture: setup ## repeat the fault tests with their large counts
	@$(python) -m pytest -m "(torture or hypothesis or fault) and not browser" --hypothesis-profile=torture \
	    --tally=docs/faults.json

lint: setup ## check style, and the files for GitHub, conda, dev containers and citations against their schemas
	@$(python) -m ruff check .
	@$(python) -m ruff format --check .
	@$(python) -m tools.schemas

format: setup ## format the code
	@$(python) -m ruff check --fix .
	@$(python) -m ruff format .

tables: setup ## write the tables of results, options and benchmarks into README.md and docs again
	@$(python) -m tools.tables . runs
	@$(python) -m tests.survival docs

badges: setup ## write badges and the first cells of the notebooks again, for the repository's address in pyproject.toml
	@$(python) -m tools.badges

site: setup ## build the course as a site into site/, from stored outputs
	@sh tools/setup.sh site
	@PYTHONPATH="$(CURDIR)/.venv/site" $(python) -m tools.site

look: setup ## open the built site in Chromium without a network: requests, console, three widths, light and dark
	@$(python) -m tools.site.look

links: setup ## check the site's links to other sites (needs a network)
	@sh tools/setup.sh site
	@PYTHONPATH="$(CURDIR)/.venv/site" $(python) -m tools.site --outside

audit: setup ## check the locked versions for known vulnerabilities (needs a network)
	@sh tools/audit.sh $(python)

lock: ## pin the dependencies of pyproject.toml again; LOCK_FLAGS=--upgrade takes the newest (needs uv)
	@command -v uv >/dev/null || { echo "make lock needs uv: https://docs.astral.sh/uv"; exit 1; }
	uv pip compile --quiet --universal --python-version 3.10 --generate-hashes --extra dashboard --extra dev \
	    --no-annotate --custom-compile-command "make lock" $(LOCK_FLAGS) pyproject.toml -o requirements.lock
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --extra site --no-annotate \
	    --custom-compile-command "make lock" $(LOCK_FLAGS) --constraint requirements.lock \
	    $$(sed -n 's/^\([a-z0-9._-]*\)==.*/--no-emit-package \1/p' requirements.lock) pyproject.toml \
	    -o docs/site/requirements.lock

setup: ## create .venv if needed
	@sh tools/setup.sh

.PHONY: help course lab publish test quick notebooks browser pictures waits torture lint format tables badges site look \
    links audit lock setup
