"""A study: questions and the runs that answer them, declared in a YAML file."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, ValidationError, model_validator

from transfer_utils.config.option_errors import explain_option
from transfer_utils.config.options import NO_COPY, RunConfig
from transfer_utils.config.options import preset as from_preset
from transfer_utils.config.recorded import Identity, identity
from transfer_utils.errors import UserError, nearest
from transfer_utils.records.folder import Run
from transfer_utils.records.record import Status
from transfer_utils.utils.project import project_folder

Options = dict[str, Any]
Grid = dict[str, Annotated[list[Any], Field(min_length=1)]]  # of an option without values there would be no runs


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class StudyGroup(_Strict):
    """One question and the runs that answer it.

    Attributes:
        options: the options that all runs share.
        grid: lists of values of the options that vary; every combination of values is one configuration.
        seeds: each configuration runs once with each seed; empty means the seeds of the study.
    """

    name: str = Field(min_length=1)
    question: str = Field(min_length=1)
    options: Options = {}
    grid: Grid = {}
    seeds: list[int] = []


class Changes(_Strict):
    """The values that replace those of a group under another preset; fields that are not set stay as they are."""

    options: Options = {}
    grid: Grid = {}
    seeds: list[int] = []


class Variant(_Strict):
    """The changes to a study under another preset.

    Attributes:
        options: replace the options of the study, which are only for its own preset.
        seeds: replace the seeds of the study; empty means no change.
        groups: changes to groups, by name.
        leave_out: names of groups that do not run.
    """

    options: Options = {}
    seeds: list[int] = []
    groups: dict[str, Changes] = {}
    leave_out: list[str] = []


class Planned(BaseModel):
    """One run of a study and the names of the groups that it belongs to."""

    config: RunConfig
    groups: list[str]

    @property
    def started_with(self) -> RunConfig:
        """The config of its process, which keeps the model only in the run's folder."""
        return self.config.model_copy(update={"model_path": NO_COPY})


class Study(_Strict):
    """Groups of runs that start from one preset. Use ``load_study`` to create one.

    Attributes:
        options: options of every run; those of a group take precedence.
        presets: the changes under other presets, by name of the preset.
    """

    preset: str
    options: Options = {}
    seeds: list[int] = Field([0], min_length=1)
    groups: list[StudyGroup] = Field(min_length=1)
    presets: dict[str, Variant] = {}
    _overrides: Options = PrivateAttr({})  # set by the caller for every run, such as data_dir

    @model_validator(mode="after")
    def _check_names(self) -> Study:
        names = [group.name for group in self.groups]
        if duplicates := {name for name in names if names.count(name) > 1}:
            raise ValueError(f"each group must have its own name, got {', '.join(sorted(duplicates))} twice")
        variants = self.presets.values()
        groups = [*self.groups, *(changes for variant in variants for changes in variant.groups.values())]
        of_groups = {name for group in groups for name in (*group.options, *group.grid)}
        if "seed" in of_groups.union(self.options, *(variant.options for variant in variants)):
            raise ValueError("seed must not be an option: list the seeds in seeds")
        if "output_dir" in of_groups:
            raise ValueError("output_dir must be an option of the whole study: its runs share a folder")
        for preset, variant in self.presets.items():
            from_preset(preset)  # refuses an unknown one, whose changes would never apply
            for name in [*variant.groups, *variant.leave_out]:
                if name not in names:
                    hint = nearest(name, names)
                    raise ValueError(f"presets.{preset} must name groups of the study, got {name!r}.{hint}")
        return self

    def planned(self) -> list[Planned]:
        """Return every run once, in the order of the groups; configs that compute the same are one run."""
        planned: dict[Identity, Planned] = {}
        for group in self.groups:
            for config in self.of_group(group.name):
                groups = planned.setdefault(identity(config), Planned(config=config, groups=[])).groups
                if group.name not in groups:
                    groups.append(group.name)
        return list(planned.values())

    def of_group(self, name: str) -> list[RunConfig]:
        """Return the configs of a group's runs, ordered by seed, because runs with the same seed share cached data.

        Within a seed, the last option of the grid varies fastest.

        Raises:
            UserError: the group or one of its options does not exist, or an option has an invalid value.
        """
        [group] = self.chosen([name]).groups
        configs = []
        for seed, *values in itertools.product(group.seeds or self.seeds, *group.grid.values()):
            varied = dict(zip(group.grid, values, strict=True))
            options = {**self.options, **group.options, **varied, "seed": seed, **self._overrides}
            try:
                configs.append(from_preset(self.preset, **options))
            except UserError as error:
                raise UserError(f"In group {name}: {error}") from None
        return configs

    def chosen(self, groups: Sequence[str] = (), seeds: Sequence[int] = ()) -> Study:
        """Return the study reduced to these groups and these seeds; an empty list means all.

        Raises:
            UserError: a group does not exist, or a seed is in none of those chosen.
        """
        names = [group.name for group in self.groups]
        for name in groups:
            if name not in names:
                raise UserError(f"groups must be among {', '.join(names)}, got {name!r}.{nearest(name, names)}")
        chosen = [group for group in self.groups if group.name in groups or not groups]
        if seeds:
            known = sorted({seed for group in chosen for seed in group.seeds or self.seeds})
            if not set(seeds) <= set(known):
                raise UserError(f"seeds must be among {', '.join(map(str, known))}, got {', '.join(map(str, seeds))}.")
            chosen = [
                group.model_copy(update={"seeds": common})
                for group in chosen
                if (common := [seed for seed in group.seeds or self.seeds if seed in seeds])
            ]
        return self.model_copy(update={"groups": chosen})


def load_study(path: str | Path, preset: str = "", **overrides: Any) -> Study:
    """Read a study from a YAML file and check every run of it.

    Args:
        path: of the file, or the name of a study of the course: ``six_stages``, ``opponents``,
            ``augmentation`` or ``forgetting``.
        preset: replaces the study's own preset.
        overrides: options of every run that take precedence over the study, such as ``data_dir`` or ``output_dir``.

    Raises:
        UserError: the file cannot be read, or it is not a valid study.
    """
    path = _study_file(Path(path))
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)
    except OSError as error:
        own = sorted(file.stem for file in (project_folder() / "studies").glob("*.yaml"))
        hint = f" The studies of the course are {', '.join(own)}.{nearest(path.stem, own)}"
        raise UserError(f"The study {path} cannot be read: {error.strerror}.{hint}") from None
    except yaml.MarkedYAMLError as error:
        place = f"line {error.problem_mark.line + 1}, column {error.problem_mark.column + 1}"
        raise UserError(f"The study {path} is not YAML: {place}: {error.problem}.") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # ValueError: not UTF-8, or a date such as 2026-99-99
        raise UserError(f"The study {path} is not YAML: {error}") from None
    if not isinstance(content, dict):
        raise UserError(f"The study {path} must have the keys preset and groups, got {type(content).__name__}.")
    try:
        study = Study.model_validate(content)
    except ValidationError as error:
        lines = [_explained(item, content) for item in error.errors()]
        raise UserError(f"The study {path} is not valid:\n  " + "\n  ".join(lines)) from None
    study._overrides = overrides
    study = _under_preset(study, preset or study.preset)
    study.planned()  # raises if a run is not valid
    return study


def _study_file(path: Path) -> Path:
    """Return the course's own study for ``six_stages`` and ``studies/six_stages.yaml``, unless that path is a file."""
    own = Path("studies", path.name).with_suffix(".yaml")
    known = path in (own, Path(own.stem)) and (project_folder() / own).is_file()
    return project_folder() / own if known and not path.is_file() else path


class _Loader(yaml.SafeLoader):
    """Refuses a key that is there twice in one mapping, of which YAML's own loader keeps the last in silence."""

    def compose_mapping_node(self, anchor: str | None) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        keys = [key.value for key, _ in node.value]
        for place, (key, _) in enumerate(node.value):
            if key.value in keys[:place]:
                problem = f"the key {key.value!r} is there twice"
                raise yaml.composer.ComposerError(None, None, problem, key.start_mark)
        return node


def find_run(config: RunConfig, runs: Sequence[Run], status: Status = "completed") -> Run | None:
    """Return the last of ``runs`` with this status and the same configuration and seed as ``config``, or None."""
    target = identity(config)
    # A log of other software has no fingerprint: what its options left out is not known to be our default.
    recorded = (run for run in reversed(runs) if run.record.fingerprint and run.record.config)
    candidates = (run for run in recorded if run.record.status == status)
    return next((run for run in candidates if identity(run.record.config) == target), None)


def _explained(item: Mapping[str, Any], content: Mapping[str, Any]) -> str:
    """Return one of pydantic's errors in a study as a line: ``In group depth: The key 'question' is missing.``"""
    loc, model, places = list(item["loc"]), Study, []
    while len(loc) > 1 and loc[0] in ("groups", "presets") and model in (Study, Variant):
        part, key, *loc = loc
        if part == "presets":
            places, model = [f"preset {key}"], Variant
        else:
            group = content["groups"][key] if model is Study else key
            name = group.get("name") if isinstance(group, dict) else group
            if isinstance(key, int) and not (name and isinstance(name, str)):
                name = f"number {key + 1}"
            places, model = [*places, f"group {name}"], StudyGroup if model is Study else Changes
    text = explain_option(item, ".".join(map(str, loc)) or "it", model.model_fields)
    return f"In {', '.join(places)}: {text}" if places else text


def _under_preset(study: Study, preset: str) -> Study:
    if preset == study.preset:
        return study
    from_preset(preset)  # refuses an unknown one
    variant = study.presets.get(preset, Variant())
    groups = [
        group.model_copy(update=variant.groups.get(group.name, Changes()).model_dump(exclude_unset=True))
        for group in study.groups
        if group.name not in variant.leave_out
    ]
    changes = {"options": variant.options, "seeds": variant.seeds or study.seeds}
    return study.model_copy(update={"preset": preset, "groups": groups, **changes})
