import importlib.metadata
import itertools
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
import yaml
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from tests.conftest import ROOT
from tests.test_wheel import FILES, FOLDERS
from tools.repository import read_project

PYTHONS = ("3.10", "3.11", "3.12", "3.13")
LOCKS = ("requirements.lock", "docs/site/requirements.lock")
SYSTEMS = (("linux", "Linux", "x86_64"), ("linux", "Linux", "aarch64"), ("darwin", "Darwin", "arm64"))

# Modules that read records or declare options: they start fast, and work where TensorFlow does not.
LIGHT = ("", ".cli", ".config", ".errors", ".evaluation", ".records", ".experiment.run", ".experiment.session")
LIGHT += (".studies.sweep", ".studies.cost", ".results.summary", ".results.claims", ".results.curves")
LIGHT += (".results.groups", ".report.article", ".report.comparison", ".plotting.curves", ".plotting.metrics")
LIGHT += (".utils.files", ".utils.progress", ".plotting")
IMPORT = """
import importlib, sys
from transfer_utils.cli import main
main(["train", "--help"])
main(["train", "--zoom", "2"])
def check(name, *heavy):
    importlib.import_module(f"transfer_utils{name}")
    assert not set(heavy) & set(sys.modules), (name, set(heavy) & set(sys.modules))
check(".utils.palette", "tensorflow", "keras", "matplotlib", "plotly", "scipy", "sklearn", "streamlit")
for name in sys.argv[1:]:
    check(name, "tensorflow", "keras", "matplotlib.pyplot", "sklearn")
for name in (".data.photo_letters", ".data.photo_digits"):
    check(name, "tensorflow", "keras")
sys.modules["transfer_utils.data.photo_digits"].render_digits()
check("", "tensorflow", "keras")
"""


def project() -> dict:
    return read_project(ROOT)["project"]


def locked(*files: str) -> list[tuple[Requirement, int]]:
    """Return every pin of the lock, or of these locks, with the number of its hashes."""
    texts = [(ROOT / file).read_text("utf-8") for file in files or ["requirements.lock"]]
    text = re.sub(r"^\s*#.*$", "", "\n".join(texts), flags=re.MULTILINE)
    pins = [pin.split("--hash=sha256:") for pin in text.replace("\\\n", " ").splitlines() if pin.strip()]
    return [(Requirement(pin[0].strip()), len(pin) - 1) for pin in pins]


def environments() -> Iterator[dict[str, str]]:
    """Yield the values of markers for CPython on every system that we support."""
    names = ("python_version", "python_full_version", "sys_platform", "platform_system", "platform_machine")
    for python in PYTHONS:
        for system in SYSTEMS:
            yield default_environment() | dict(zip(names, (python, f"{python}.9", *system), strict=True))


def applies(requirement: Requirement, environment: dict[str, str], extra: str = "") -> bool:
    return requirement.marker is None or requirement.marker.evaluate(environment | {"extra": extra})


def unmet(wanted: Iterable[str], *files: str) -> list[str]:
    """Return what the lock does not pin, on some system, at an allowed version."""
    pins, missing = [pin for pin, _ in locked(*files)], []
    for environment in environments():
        versions = {pin.name: next(iter(pin.specifier)).version for pin in pins if applies(pin, environment)}
        for requirement in map(Requirement, wanted):
            version = versions.get(canonicalize_name(requirement.name))
            allowed = version and requirement.specifier.contains(version, prereleases=True)
            if applies(requirement, environment) and not allowed:
                missing.append(f"{requirement} on {environment['python_version']}: {version}")
    return missing


def test_the_lock_pins_every_dependency_and_extra_on_every_system():
    extras = project()["optional-dependencies"]
    assert unmet(extras.pop("site"), *LOCKS) == []
    assert unmet([*project()["dependencies"], *itertools.chain(*extras.values())]) == []


def test_the_lock_of_the_site_adds_packages_and_changes_none():
    both = [{pin.name for pin, _ in locked(file)} for file in LOCKS]
    assert both[1] and not both[0] & both[1]


def test_the_lock_pins_one_version_with_hashes_of_each_package():
    for pin, hashes in locked(*LOCKS):
        assert [specifier.operator for specifier in pin.specifier] == ["=="], pin
        assert hashes > 0, pin


def test_the_lock_is_complete_so_that_pip_need_not_look_for_dependencies():
    check = subprocess.run([sys.executable, "-m", "pip", "check"], capture_output=True, text=True)
    assert check.returncode == 0, check.stdout


def test_the_lock_has_nothing_that_no_dependency_asks_for():
    """On this Python: whatever the lock installs is declared, or required by something that is."""
    extras = project()["optional-dependencies"]
    declared = map(Requirement, [*project()["dependencies"], *extras["dashboard"], *extras["dev"]])
    asked, waiting = set(), [each for each in declared if applies(each, default_environment())]
    while waiting:
        requirement = waiting.pop()
        for extra in ("", *requirement.extras):
            if (key := (canonicalize_name(requirement.name), extra)) not in asked:
                asked.add(key)
                waiting += required(*key)
    pins = {pin.name for pin, _ in locked() if applies(pin, default_environment())}
    assert pins - {name for name, _ in asked} == set()


def required(name: str, extra: str) -> list[Requirement]:
    """Return what an installed package requires on this Python, without extras or for one of them."""
    requirements = map(Requirement, importlib.metadata.requires(name) or [])
    return [each for each in requirements if applies(each, default_environment(), extra)]


def test_conda_and_binder_install_the_same_lock_on_a_python_that_we_support():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text("utf-8"))
    python, pip, by_pip = environment["dependencies"]
    assert SpecifierSet(project()["requires-python"]).contains(python.removeprefix("python=") + ".0")
    assert (pip, by_pip) == ("pip", {"pip": ["-r requirements.lock"]})
    assert "--no-deps --editable ." in (ROOT / "postBuild").read_text("utf-8")


def test_the_container_runs_as_an_ordinary_user_and_jupyterlab_keeps_its_token():
    lines = (ROOT / "Dockerfile").read_text("utf-8").splitlines()
    users = [line.split()[1] for line in lines if line.startswith("USER ")]
    assert users and users[-1] not in ("root", "0")
    assert lines[-1].startswith("CMD") and "token" not in lines[-1]


def test_the_container_gets_what_the_wheel_is_made_of_and_nothing_that_its_user_left_beside_it():
    lines = (ROOT / ".dockerignore").read_text("utf-8").splitlines()
    first, *others = [line for line in lines if not line.startswith("#")]
    kept = {line[1:] for line in others if line.startswith("!")}
    assert first == "*"
    assert kept == {*FOLDERS, *FILES, "requirements.lock", "runs/*/run.json", "runs/*/comparison.md"}


def test_no_job_of_a_workflow_can_run_for_hours():
    workflows = [yaml.safe_load(path.read_text("utf-8")) for path in (ROOT / ".github" / "workflows").iterdir()]
    assert all(job["timeout-minutes"] <= 60 for workflow in workflows for job in workflow["jobs"].values())


def test_the_hooks_check_style_with_the_locked_version():
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text("utf-8"))
    [version] = {next(iter(pin.specifier)).version for pin, _ in locked() if pin.name == "ruff"}
    assert [repo["rev"] for repo in hooks["repos"]] == [f"v{version}"]


def test_the_citation_has_the_version_and_the_licence_of_the_project():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
    assert citation["version"] == project()["version"] and citation["license"] == project()["license"]
    assert f"## {project()['version']}" in (ROOT / "CHANGELOG.md").read_text("utf-8")


PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md", *sorted((ROOT / "docs").glob("*.md"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_links_of_a_page_lead_to_files(page):
    links = re.findall(r"\]\(([^)#\s]+)", page.read_text("utf-8"))
    missing = [link for link in links if "://" not in link and not (page.parent / link).exists()]
    assert not missing


def test_modules_that_only_declare_or_read_load_nothing_heavy():
    done = subprocess.run([sys.executable, "-c", IMPORT, *LIGHT], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


class TestSetup:
    """``tools/setup.sh`` with interpreters that only pretend, in a folder with spaces in its name."""

    @pytest.fixture
    def checkout(self, tmp_path) -> Path:
        folder = tmp_path / "a check out"
        for name in ("tools", "docs/site", "bin"):
            (folder / name).mkdir(parents=True)
        shutil.copy(ROOT / "tools" / "setup.sh", folder / "tools")
        for name in ("requirements.lock", "pyproject.toml", "docs/site/requirements.lock"):
            (folder / name).write_text(name)
        for tool in ("sh", "cat", "cksum", "dirname", "mkdir", "rm", "chmod"):
            (folder / "bin" / tool).symlink_to(shutil.which(tool))
        self.python(folder, "python3")
        return folder

    def python(self, checkout, name: str, version: str = "3, 12, 1", venv: bool = True, pip: str = "exit 0") -> None:
        """Put a pretended interpreter on the path; the one in the environment that it makes notes its pip commands."""
        real = f'exec "{sys.executable}" -c "import sys; sys.version_info = ({version}); $2"'
        dotted = version.replace(", ", ".")
        made = f'case "$*" in *"pip install"*) echo "$*" >>pip.log; {pip};; *python_version*) echo {dotted};; esac'
        (checkout / "bin" / name).write_text(f"""#!/bin/sh
case "$*" in
    *ensurepip*) {"exit 0" if venv else "exit 1"};;
    *"-m venv"*) mkdir -p .venv/bin; echo '#!/bin/sh
{made}' >.venv/bin/python; chmod +x .venv/bin/python;;
    *python_version*) echo {dotted};;
    *) {real};;
esac
""")
        (checkout / "bin" / name).chmod(0o755)

    def set_up(self, checkout: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess:
        command = ["sh", str(checkout / "tools" / "setup.sh"), *arguments]
        return subprocess.run(command, env={"PATH": str(checkout / "bin")} | variables, capture_output=True, text=True)

    def installs(self, checkout: Path, *arguments: str, fails: bool = False) -> list[str]:
        """Set up, which must succeed unless it ``fails``, and return what pip was asked for."""
        done, log = self.set_up(checkout, *arguments), checkout / "pip.log"
        assert (done.returncode != 0) == fails, done.stderr
        lines = log.read_text().splitlines() if log.exists() else []
        log.unlink(missing_ok=True)
        kinds = {"docs/site": "site", "--require-hashes": "lock", "--editable": "package"}
        return [next(kind for word, kind in kinds.items() if word in line) for line in lines]

    def test_only_what_is_new_is_installed(self, checkout):
        assert self.installs(checkout) == ["lock", "package"]
        assert self.set_up(checkout).stdout == "" and self.installs(checkout) == []
        (checkout / "pyproject.toml").write_text("changed")
        assert self.installs(checkout) == ["package"]
        (checkout / ".venv" / "old").touch()
        (checkout / "requirements.lock").write_text("changed")
        assert self.installs(checkout) == ["lock", "package"]
        assert not (checkout / ".venv" / "old").exists(), "a new lock is installed into an empty environment"
        moved = checkout.rename(checkout.parent / "else where")
        assert self.installs(moved) == ["lock", "package"]

    def test_the_packages_of_the_site_are_installed_for_the_site_alone_and_once(self, checkout):
        assert self.installs(checkout) == ["lock", "package"]
        assert self.installs(checkout, "site") == ["site"]
        assert self.installs(checkout, "site") == []
        (checkout / "docs" / "site" / "requirements.lock").write_text("changed")
        assert self.installs(checkout) == []
        assert self.installs(checkout, "site") == ["site"]

    @pytest.mark.parametrize("death", ["exit 1", "kill -9 $PPID; exit 1"])
    def test_a_half_finished_install_is_not_taken_for_a_finished_one(self, checkout, death):
        self.python(checkout, "python3", pip=death)
        assert self.installs(checkout, fails=True) == ["lock"]
        self.python(checkout, "python3")
        assert self.installs(checkout) == ["lock", "package"]

    def test_an_interpreter_that_does_not_run_or_fit_is_skipped_and_a_named_one_comes_first(self, checkout):
        self.python(checkout, "python3", "3, 9, 2")
        self.python(checkout, "python3.11", "3, 11, 0")
        shim = checkout / "bin" / "python3.12"
        shim.write_text("#!/bin/sh\necho pyenv: python3.12: command not found >&2\nexit 127\n")
        shim.chmod(0o755)
        done = self.set_up(checkout)
        assert "for Python 3.11.0" in done.stdout and done.stderr == ""
        self.python(checkout, "my python", "3, 10, 4")
        (checkout / "requirements.lock").write_text("changed\n")
        assert "for Python 3.10.4" in self.set_up(checkout, PYTHON=str(checkout / "bin" / "my python")).stdout

    def test_naming_another_interpreter_makes_the_environment_anew_and_the_same_one_does_not(self, checkout):
        self.python(checkout, "python3", "3, 11, 0")
        self.python(checkout, "python3.12", "3, 12, 1")
        assert self.installs(checkout) == ["lock", "package"]
        assert self.set_up(checkout, PYTHON="python3").stdout == ""
        assert "for Python 3.12.1" in self.set_up(checkout, PYTHON="python3.12").stdout
        refused = self.set_up(checkout, PYTHON="nowhere/python3")
        assert refused.returncode != 0 and (checkout / ".venv" / "bin" / "python").exists(), "nothing is removed first"

    @pytest.mark.parametrize("named", ["python3.9", "nowhere/python3"])
    def test_a_named_interpreter_that_does_not_fit_is_refused(self, checkout, named):
        self.python(checkout, "python3", "3, 11, 0")
        self.python(checkout, "python3.9", "3, 9, 2")
        done = self.set_up(checkout, PYTHON=named)
        assert done.returncode != 0 and done.stderr.endswith(f"PYTHON names another or none: {named}\n")

    @pytest.mark.parametrize("version", ["3, 9, 18", "3, 14, 0", "2, 7, 18"])
    def test_without_a_fitting_python_there_is_one_clear_sentence(self, checkout, version):
        self.python(checkout, "python3", version)
        done = self.set_up(checkout)
        assert done.returncode != 0 and done.stdout == ""
        assert done.stderr.startswith("Python 3.10 to 3.13 is needed") and done.stderr.count("\n") == 1

    def test_without_the_means_to_make_environments_the_missing_package_is_named(self, checkout):
        self.python(checkout, "python3", venv=False)
        done = self.set_up(checkout)
        assert done.returncode != 0 and "apt install python3-venv" in done.stderr and done.stderr.count("\n") == 1
        self.python(checkout, "python3.11", "3, 11, 2")
        assert self.set_up(checkout).returncode == 0

    def test_the_environment_that_is_removed_does_not_make_the_new_one(self, checkout):
        self.python(checkout, "python3.12")
        assert self.installs(checkout) == ["lock", "package"]
        own = checkout / ".venv" / "bin"
        shutil.copy(checkout / "bin" / "python3.12", own / "python3")  # activated, it comes before the system's
        self.python(checkout, "python3", "3, 9, 1")
        (checkout / "requirements.lock").write_text("changed")
        prefix = f'exec "{sys.executable}" -c "import sys; sys.prefix = \'.venv\'; $2"'
        (own / "python").write_text(f"#!/bin/sh\n{prefix}\n")
        done = self.set_up(checkout, PYTHON=".venv/bin/python")
        assert done.returncode != 0 and "PYTHON names another or none" in done.stderr and own.exists()
        done = self.set_up(checkout, PATH=f"{own}:{checkout / 'bin'}")
        assert done.returncode == 0 and "3.12.1" in (own / "python").read_text(), done.stderr


@pytest.mark.parametrize("status", [0, 3])
def test_the_automatic_check_fails_when_a_test_does(status, tmp_path):
    (tmp_path / "make").write_text(f'#!/bin/sh\necho "$PWD make $*"\nexit {status}\n')
    (tmp_path / "make").chmod(0o755)
    path = f"{tmp_path}:/usr/bin:/bin"
    done = subprocess.run([str(ROOT / ".ci" / "run")], env={"PATH": path}, capture_output=True, text=True)
    assert done.returncode == status
    assert done.stdout.splitlines() == [f"{ROOT} make lint", f"{ROOT} make test"][: 1 if status else 2]


def test_a_home_that_cannot_be_written_is_replaced_and_one_that_can_is_kept(tmp_path):
    (tmp_path / "file").touch()
    shown, makefile = tmp_path / "shown.mk", str(ROOT / "Makefile").replace(" ", "\\ ")
    shown.write_text(f'include {makefile}\nshow: ; @echo "$$HOME"\n')
    command = ["make", "--no-print-directory", "-f", str(shown), "show"]
    for home in (str(tmp_path), str(tmp_path / "file" / "none"), ""):
        done = subprocess.run(command, env={"PATH": "/usr/bin:/bin", "HOME": home}, capture_output=True, text=True)
        assert done.stdout.strip() == (home if home == str(tmp_path) else str(tmp_path / ".venv" / "home")), done.stderr
