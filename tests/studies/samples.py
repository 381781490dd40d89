"""Small studies and made-up records for the tests of sweeps."""

import json
from pathlib import Path

from tests import tiny
from transfer_utils.config.options import RunConfig
from transfer_utils.records.folder import Run
from transfer_utils.records.record import RECORD_NAME, RunRecord
from transfer_utils.studies.spec import Study, load_study

EPOCHS = 12


def write_study(**groups) -> Study:
    """Return a study with two runs in the group ``depth``, and one run in each further group of fixed options."""
    options = {**tiny.OPTIONS, "data_dir": tiny.image_folder(), "epochs_stage1": EPOCHS, "epochs_stage2": EPOCHS}
    content = [{"name": "depth", "question": "How deep?", "grid": {"n_unfreeze": [0, 3]}}]
    content += [{"name": name, "question": "What then?", "options": options} for name, options in groups.items()]
    study = {"preset": "none", "options": {**options, "patience": 0}, "groups": content}
    Path("study.yaml").write_text(json.dumps(study))  # JSON is YAML
    return load_study("study.yaml", output_dir="runs")


def write_record(config: RunConfig, number: int = 1, **changes) -> Run:
    """Write the record of a completed run and return it."""
    values = {"status": "completed", "fingerprint": config.fingerprint, "config": config.model_dump()}
    record = RunRecord(**{**values, "metrics": {"val_end2end": 0.75}, **changes})
    path = Path(config.output_dir) / f"{number:04d}-x" / RECORD_NAME
    record.save(path)
    return Run(record, path)
