import subprocess
import sys

import pytest
from conftest import ROOT

from transfer_utils.config import options_table, presets_table
from transfer_utils.errors import UserError
from transfer_utils.readme import results_table, with_fresh_tables
from transfer_utils.records import load_runs

PAGE = """# A page
<!-- presets -->
<!-- /presets -->
between
<!-- options -->
old
<!-- /options -->
<!-- results -->
<!-- /results -->
end
"""


def test_the_tables_of_the_readme_are_fresh():
    text = (ROOT / "README.md").read_text("utf-8")
    assert with_fresh_tables(text, load_runs(ROOT / "runs").runs) == text, "README.md is stale: run `make tables`"


def test_make_tables_replaces_what_stands_between_the_markers_and_nothing_else(small_record, tmp_path):
    small_record.save(tmp_path / "runs" / "0001" / "run.json")
    (tmp_path / "page.md").write_text(PAGE, "utf-8")
    subprocess.run([sys.executable, "-m", "transfer_utils.readme", "page.md", "runs"], check=True)
    expected = PAGE.replace("old\n", "")
    tables = {"presets": presets_table(), "options": options_table()}
    tables["results"] = results_table(load_runs(tmp_path / "runs").runs)
    for name, table in tables.items():
        expected = expected.replace(f"<!-- {name} -->\n", f"<!-- {name} -->\n{table}")
    assert (tmp_path / "page.md").read_text("utf-8") == expected
    assert "digits on photographs" in tables["results"]


@pytest.mark.parametrize("missing", ["<!-- presets -->", "<!-- /options -->", "<!-- results -->"])
def test_a_page_without_a_marker_is_refused(missing):
    with pytest.raises(UserError, match=missing.strip("<!-/ >")):
        with_fresh_tables(PAGE.replace(missing, ""), [])
