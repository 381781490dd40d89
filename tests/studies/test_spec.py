"""Studies: the runs that a YAML file declares, the errors in it, and the recorded run of a config."""

from pathlib import Path

import pytest

from tests.conftest import ROOT
from transfer_utils.config.options import preset
from transfer_utils.config.presets import PRESETS
from transfer_utils.errors import UserError
from transfer_utils.records.folder import Run
from transfer_utils.records.record import RunRecord
from transfer_utils.studies.spec import find_run, load_study

SIX_STAGES = ROOT / "studies" / "six_stages.yaml"

STUDY = """
preset: cifar10-small
options: {image_size: 96}
seeds: [0, 1]
groups:
  - name: depth
    question: "How deep?"
    options: {patience: 0}
    grid: {n_unfreeze: [0, 30], model: [transfer, baseline]}
  - name: rate
    question: "How fast?"
    grid: {learning_rate_stage2: [1e-5, 1e-3]}
    seeds: [7]
  - name: mixup
    question: "Mixed?"
    options: {learning_rate_stage2: 1e-3}
    grid: {use_mixup: [false, true]}
    seeds: [7]
presets:
  offline:
    seeds: [3]
    leave_out: [mixup]
    groups: {depth: {options: {}, grid: {n_unfreeze: [10]}}}
"""


def load(old="", new="", *arguments, **overrides):
    """Load STUDY, with some of its text replaced."""
    assert old in STUDY
    Path("study.yaml").write_text(STUDY.replace(old, new) if old else STUDY)
    return load_study("study.yaml", *arguments, **overrides)


def run_of(config, number=1, status="completed", **changes) -> Run:
    options = {"base_model": config.backbone, **config.model_dump(), **changes}
    record = RunRecord(status=status, config=options, run_id=str(number), fingerprint=config.fingerprint)
    return Run(record, Path(f"runs/{number:04d}/run.json"))


def test_each_combination_of_a_grid_runs_with_each_seed_ordered_by_seed():
    configs = load().of_group("depth")
    combinations = [(0, "transfer"), (0, "baseline"), (30, "transfer"), (30, "baseline")]
    assert [(config.seed, config.n_unfreeze, config.model) for config in configs] == [
        (seed, *combination) for seed in (0, 1) for combination in combinations
    ]
    assert {(config.preset, config.image_size, config.patience) for config in configs} == {("cifar10-small", 96, 0)}


def test_a_run_of_several_groups_is_planned_once_and_names_them_all():
    planned = load().planned()
    assert len(planned) == 6 + 2 + 1, "the depth of the transfer model does not matter to the CNN"
    shared = [run for run in planned if len(run.groups) > 1]
    assert [run.groups for run in shared] == [["rate", "mixup"]]
    assert (shared[0].config.learning_rate_stage2, shared[0].config.use_mixup) == (1e-3, False)
    assert [run.groups[0] for run in planned] == ["depth"] * 6 + ["rate"] * 2 + ["mixup"]


def test_configs_that_compute_the_same_are_one_run():
    grid = "{model: [transfer, baseline], learning_rate_baseline: [1.0e-3, 1.0e-2]}"
    study = load("{n_unfreeze: [0, 30], model: [transfer, baseline]}", grid).chosen(["depth"], [0])
    assert [run.config.model for run in study.planned()] == ["transfer", "baseline", "baseline"]


def test_grid_values_have_the_types_of_their_options_even_if_yaml_reads_text():
    assert [config.learning_rate_stage2 for config in load().of_group("rate")] == [1e-5, 1e-3]


def test_another_preset_has_its_own_options_seeds_and_changes_of_groups():
    study = load("", "", "offline")
    assert [group.name for group in study.groups] == ["depth", "rate"]
    [config] = study.of_group("depth")
    assert config == preset("offline", n_unfreeze=10, seed=3), "without the options of the study and of the group"
    assert [config.seed for config in study.of_group("rate")] == [7, 7], "a group's own seeds stay"
    untouched = load("", "", "cifar10")
    assert {config.image_size for config in untouched.of_group("depth")} == {preset("cifar10").image_size}
    assert len(untouched.of_group("depth")) == 8
    with pytest.raises(UserError, match="Did you mean 'offline'"):
        load("", "", "ofline")


def test_overrides_apply_to_every_run():
    study = load("", "", data_dir="data/cifar10", output_dir="here")
    assert {(run.config.data_dir, run.config.output_dir) for run in study.planned()} == {("data/cifar10", "here")}


def test_a_study_can_be_reduced_to_some_groups_and_seeds():
    study = load()
    assert [run.config.seed for run in study.chosen(["depth"], [1]).planned()] == [1] * 3
    assert study.chosen([], [7]).planned() == [*study.chosen(["rate", "mixup"]).planned()]
    with pytest.raises(UserError, match=r"groups must be among depth, rate, mixup, got 'dept'. Did you mean 'depth'?"):
        study.chosen(["dept"])
    with pytest.raises(UserError, match="seeds must be among 0, 1, 7, got 0, 9"):
        study.chosen(seeds=[0, 9])
    with pytest.raises(UserError, match="seeds must be among 0, 1, got 8, 9"):
        study.chosen(["depth"], [8, 9])


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("patience: 0", "pateince: 0", "In group depth: .*no option 'pateince'. Did you mean 'patience'"),
        ("n_unfreeze: [0, 30]", "n_unfreze: [0]", "In group depth: .*no option 'n_unfreze'. Did you mean 'n_unfreeze'"),
        ("n_unfreeze: [0, 30]", "n_unfreeze: [x]", "In group depth: n_unfreeze must be a whole number, got 'x'"),
        ("image_size: 96", "image_size: 9", "image_size must be at least 32, got 9"),
        ("preset: cifar10-small", "preset: cifar", "preset must be one of .*'cifar'. Did you mean 'cifar10'"),
        ("image_size: 96", "seed: 1", "seed must not be an option: list the seeds in seeds"),
        ("    seeds: [3]", "    options: {seed: 3}", "seed must not be an option"),
        ("grid: {n_unfreeze: [10]}", "grid: {seed: [0, 1]}", "seed must not be an option"),
        ("patience: 0", "output_dir: x", "output_dir must be an option of the whole study: its runs share a folder"),
        ("n_unfreeze: [0, 30]", "seed: [0, 1]", "seed must not be an option"),
        ("n_unfreeze: [0, 30]", "preset: [none]", "In group depth: preset cannot be an option of itself, got 'none'"),
        ("n_unfreeze: [0, 30]", "name: [x]", "In group depth: .*no option 'name'"),
        ("name: mixup", "name: rate", r"each group must have its own name, got rate twice\.$"),
        ("leave_out: [mixup]", "leave_out: [mixpu]", r"offline must name groups.*'mixpu'. Did you mean 'mixup'\?$"),
        ("groups: {depth:", "groups: {dpeth:", "presets.offline must name groups.*'dpeth'. Did you mean 'depth'"),
        ('question: "Mixed?"', "", "In group mixup: The key 'question' is missing."),
        ("  - name: mixup\n", "  -\n", "In group number 3: The key 'name' is missing."),
        ("seeds: [0, 1]", "seeds: []", r"seeds must be a list of at least one value, got \[\]\."),
        ("seeds: [0, 1]", "seeds: [x]", r"seeds\.0 must be a whole number, got 'x'\."),
        ("seeds: [0, 1]", "seeds: 3", r"seeds must be a list such as \[0, 1\], got 3\."),
        ("seeds: [0, 1]", "sedes: [0]", "no key 'sedes'. Did you mean 'seeds'. The keys are preset, options, seeds, g"),
        ("seeds: [0, 1]", "overrides: {zoom: 0.2}", "There is no key 'overrides'"),
        ("seeds: [0, 1]", "1: 2", "1: Keys should be strings"),
        ("seeds: [0, 1]", "seeds: [0, 1", "is not YAML"),
        ("seeds: [0, 1]", "seeds: [2026-99-99]", "is not YAML: month must be"),
        ("options: {patience: 0}", "options: 3", "In group depth: options must be a mapping such as {.*}, got 3"),
        ("options: {patience: 0}", "fixed: {}", "In group depth: There is no key 'fixed'. The keys are name, q"),
        ("    grid: {use_mixup", "    grdi: {use_mixup", "In group mixup: There is no key 'grdi'. Did you mean 'grid'"),
        ("n_unfreeze: [0, 30]", "n_unfreeze: []", r"group depth: grid\.n_unfreeze must be a list of at least one val"),
        ("n_unfreeze: [0, 30]", "n_unfreeze: 30", r"group depth: grid\.n_unfreeze must be a list such as .*, got 30"),
        ("n_unfreeze: [10]", "n_unfreeze: []", r"In preset offline, group depth: grid\.n_unfreeze must be a list of"),
        ("leave_out: [mixup]", "leaveout: []", "In preset offline: There is no key 'leaveout'. Did you mean 'leave_o"),
        ("groups: {depth: {options", "groups: {depth: 7, rate: {options", "group depth: it must be a mapping of keys"),
        ("  offline:\n", "  ofline:\n", "preset must be one of .*'ofline'. Did you mean 'offline'"),
        (
            "    seeds: [7]\n  - name: mixup",
            "    seeds: [7]\n    seeds: [8]\n  - name: mixup",
            "line 14, column 5: the key 'seeds' is there twice",
        ),
    ],
)
@pytest.mark.fault(29)
def test_an_invalid_study_is_an_error_that_names_the_place(old, new, message):
    with pytest.raises(UserError, match=message):
        load(old, new)


def test_a_study_that_is_not_a_mapping_or_does_not_exist_is_an_error():
    Path("list.yaml").write_text("[1]")
    with pytest.raises(UserError, match=r"list\.yaml must have the keys preset and groups, got list"):
        load_study("list.yaml")
    with pytest.raises(UserError, match=r"none\.yaml cannot be read: No such file"):
        load_study("none.yaml")


def test_the_newest_completed_run_of_a_configuration_is_found():
    config = preset("cifar10-small", output_dir="here", data_dir="data/cifar10")
    other, failed = run_of(config, 4, seed=1), run_of(config, 5, status="failed")
    first, second = run_of(config, preset="none", data_dir=""), run_of(config, 2, output_dir="there")
    assert find_run(config, [first, second, other, failed]) is second
    assert find_run(config, [other, failed]) is None
    assert find_run(preset("none"), [Run(RunRecord(), Path("log.json"))]) is None, "a log without options"
    second.record.fingerprint = ""
    assert find_run(config, [second]) is None, "a log of other software may have had other defaults"


def test_a_folder_named_like_a_study_of_the_course_does_not_hide_it():
    Path("forgetting").mkdir()
    assert load_study("forgetting").groups == load_study(ROOT / "studies" / "forgetting.yaml").groups


@pytest.mark.parametrize("name", ["", *PRESETS])
def test_the_study_of_the_course_is_valid_for_every_preset(name):
    study = load_study(SIX_STAGES, name)
    for group in study.groups:
        assert len(study.of_group(group.name)) == len(set(study.of_group(group.name)))


def test_the_study_of_the_course_asks_for_the_runs_that_are_on_record():
    first, second = load_study(SIX_STAGES, data_dir="data/cifar10").chosen(["headline"], [0]).planned()
    assert first.config.fingerprint == "15ded597eeba"
    assert second.config.fingerprint == "d9f35034422a"
    offline = load_study(SIX_STAGES, "offline").planned()[0].config
    assert offline == preset("offline")
