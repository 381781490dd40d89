"""A study: which questions are asked of many runs, and which runs answer them. Read from a YAML file; runs nothing."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from transfer_utils.config import PLACES, PRESETS, RunConfig
from transfer_utils.config import preset as from_preset
from transfer_utils.errors import UserError, nearest
from transfer_utils.records import Run, Status

Options = dict[str, Any]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class StudyGroup(_Strict):
    """One question and the runs that answer it: ``options`` fixed, ``grid`` varied, every value with every other.

    Attributes:
        seeds: each combination is run once with each of them; those of the study where the group names none.
    """

    name: str = Field(min_length=1)
    question: str = Field(min_length=1)
    options: Options = {}
    grid: dict[str, list[Any]] = {}
    seeds: list[int] = []

    def combinations(self) -> list[Options]:
        """Return the options of every run but its seed; the last name of ``grid`` varies fastest."""
        return [
            self.options | dict(zip(self.grid, values, strict=True))
            for values in itertools.product(*self.grid.values())
        ]


class Changes(_Strict):
    """What a group is to have instead under another preset; what is not named stays."""

    options: Options = {}
    grid: dict[str, list[Any]] = {}
    seeds: list[int] = []


class Variant(_Strict):
    """The same study under another preset.

    Attributes:
        options: stand in place of the study's own options, which belong to its own preset.
        seeds: the seeds of groups that name none; empty keeps the study's.
        groups: changes of groups, by their name.
        leave_out: names of groups that are not asked.
    """

    options: Options = {}
    seeds: list[int] = []
    groups: dict[str, Changes] = {}
    leave_out: list[str] = []


class Planned(BaseModel):
    """One run of a study, and the names of the groups that it belongs to."""

    config: RunConfig
    groups: list[str]


class Study(_Strict):
    """Groups of runs that start from one preset; made by ``load_study``.

    Attributes:
        options: of every run, unless its group says otherwise.
        presets: what differs under other presets, by their name.
        overrides: options that the caller set for every run, such as ``data_dir``; they win over all others.
    """

    preset: str
    options: Options = {}
    seeds: list[int] = Field([0], min_length=1)
    groups: list[StudyGroup] = Field(min_length=1)
    presets: dict[str, Variant] = {}
    overrides: Options = {}

    @model_validator(mode="after")
    def _names(self) -> Study:
        names = [group.name for group in self.groups]
        if twice := {name for name in names if names.count(name) > 1}:
            raise ValueError(f"each group needs a name of its own, got {', '.join(sorted(twice))} twice")
        for preset, variant in self.presets.items():
            for name in [*variant.groups, *variant.leave_out]:
                if name not in names:
                    raise ValueError(f"presets.{preset} names no group of the study: {name!r}.{nearest(name, names)}")
        return self

    def planned(self) -> list[Planned]:
        """Return every run once, in the order of the groups.

        Within a group all runs of one seed come together: they have the split in common, and often the features.
        """
        found: dict[str, Planned] = {}
        for group in self.groups:
            for config in self.of_group(group.name):
                found.setdefault(config.fingerprint, Planned(config=config, groups=[])).groups.append(group.name)
        return list(found.values())

    def of_group(self, name: str) -> list[RunConfig]:
        """Return the runs of a group, seed by seed.

        Raises:
            UserError: there is no such group, or an option that does not exist or cannot have its value.
        """
        group = next(group for group in self.chosen([name]).groups)
        configs = []
        for seed in group.seeds or self.seeds:
            for combination in group.combinations():
                options = {**self.options, **combination, "seed": seed, **self.overrides}
                try:
                    configs.append(from_preset(self.preset, **options))
                except UserError as error:
                    raise UserError(f"In group {name}: {error}") from None
        return configs

    def chosen(self, groups: Sequence[str] = (), seeds: Sequence[int] = ()) -> Study:
        """Return the part of the study that is these groups and these seeds; all of them where none is named.

        Raises:
            UserError: no group has that name.
        """
        known = [group.name for group in self.groups]
        for name in groups:
            if name not in known:
                raise UserError(f"group must be one of {', '.join(known)}, got {name!r}.{nearest(name, known)}")
        kept = [group for group in self.groups if group.name in groups or not groups]
        if seeds:
            kept = [
                group.model_copy(update={"seeds": wanted})
                for group in kept
                if (wanted := [seed for seed in group.seeds or self.seeds if seed in seeds])
            ]
        return self.model_copy(update={"groups": kept})


def load_study(path: str | Path, preset: str = "", **overrides: Any) -> Study:
    """Read a study from a YAML file and check every run of it.

    Args:
        preset: what the runs start from instead of the study's own preset.
        overrides: options of every run, whatever the study says, such as ``data_dir`` or ``output_dir``.

    Raises:
        UserError: the file cannot be read, or names something that does not exist.
    """
    try:
        content = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"The study {path} cannot be read: {error.strerror}.") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"The study {path} is not YAML: {error}") from None
    if not isinstance(content, dict):
        raise UserError(f"The study {path} must have the keys preset and groups, got {type(content).__name__}.")
    try:
        study = Study(**{**content, "overrides": overrides})
    except ValidationError as error:
        lines = [f"{'.'.join(map(str, item['loc']))}: {item['msg']}".lstrip(": ") for item in error.errors()]
        raise UserError(f"The study {path} does not fit together:\n  " + "\n  ".join(lines)) from None
    study = _typed(_under(study, preset or study.preset))
    study.planned()
    return study


def find_run(config: RunConfig, runs: list[Run], status: Status = "completed") -> Run | None:
    """Return the newest run of ``runs`` that answers the same question as ``config``; None without one.

    The preset, and where a run is kept, do not count; nor where CIFAR-10 is read from. A user's own folder does.

    Args:
        runs: in the order of their names, as ``load_runs`` lists them.
        status: of the run that is looked for.
    """
    wanted = question(config.model_dump())
    for run in reversed(runs):
        if run.record.status == status and run.record.config and question(run.record.config) == wanted:
            return run
    return None


def question(options: Options) -> Options:
    """Return of a run's options those that decide what it finds out; what an older record lacks is at its default."""
    left_out = {"preset", *PLACES} | ({"data_dir"} if options.get("dataset", "cifar10") == "cifar10" else set())
    left_out |= {"epochs_baseline"} if options.get("model", "transfer") == "transfer" else set()
    fields = RunConfig.model_fields.items()
    return {name: options.get(name, field.default) for name, field in fields if name not in left_out}


def _under(study: Study, preset: str) -> Study:
    """Return the study as it is under a preset."""
    if preset == study.preset:
        return study
    known = ["none", *PRESETS]
    if preset not in known:
        raise UserError(f"preset must be one of {', '.join(known)}, got {preset!r}.{nearest(preset, known)}")
    variant = study.presets.get(preset, Variant())
    groups = [
        group.model_copy(update=variant.groups.get(group.name, Changes()).model_dump(exclude_unset=True))
        for group in study.groups
        if group.name not in variant.leave_out
    ]
    changes = {"options": variant.options, "seeds": variant.seeds or study.seeds}
    return study.model_copy(update={"preset": preset, "groups": groups, **changes})


def _typed(study: Study) -> Study:
    """Return the study with the values of its grids as the types of their options: YAML reads 1e-5 as text."""
    groups = []
    for group in study.groups:
        grid = {name: [_value(name, value, group) for value in values] for name, values in group.grid.items()}
        groups.append(group.model_copy(update={"grid": grid}))
    return study.model_copy(update={"groups": groups})


def _value(name: str, value: Any, group: StudyGroup) -> Any:
    field = RunConfig.model_fields.get(name)
    if field is None:
        raise UserError(f"In group {group.name}: there is no option {name!r}.{nearest(name, RunConfig.model_fields)}")
    try:
        return TypeAdapter(field.annotation).validate_python(value)
    except ValidationError:
        return value  # its run will be refused, in RunConfig's own words
