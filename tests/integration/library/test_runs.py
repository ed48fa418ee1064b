"""`rbp_engine.runs`: runs as records and as a data frame; and the page that explains the library."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import rbp_engine
from rbp_engine.errors import UserError
from rbp_engine.run.errors import RunError
from rbp_engine.spiking.layers import compiler

PAGE = Path(__file__).parents[3] / "docs" / "library.md"
pytestmark = pytest.mark.xdist_group("library")  # they share runs


def test_a_query_selects_runs_with_their_settings_and_each_can_be_loaded():
    assert {run.id for run in rbp_engine.runs()} == {"first", "moving", "own"}
    (run,) = rbp_engine.runs("neuron.decay=0.7")
    assert (run.id, run.status, run.timesteps) == ("own", "completed", 2)
    assert run.preset == "digits · own.py:net · own.py:halves"
    assert run.settings["data.batch_size"] == 20 and run.settings["model.name"] == "own.py:net"
    assert run.load(weights="last").classes == 2
    with pytest.raises(RunError, match="there is no field 'methd'"):
        rbp_engine.runs("methd=x")


def test_a_data_frame_has_a_row_for_each_run_and_a_column_for_each_setting():
    pytest.importorskip("pandas")
    frame = rbp_engine.runs().to_frame()
    assert frame.loc["moving", "data.name"] == "moving_digits"
    assert frame.loc["first", "best"] == rbp_engine.runs("run=digits data.name=digits")[0].best
    assert frame["optim.lr"].dtype == float
    assert list(rbp_engine.runs("status:failed").to_frame().columns)[:2] == ["preset", "name"]


def test_without_pandas_the_message_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(UserError, match="pip install pandas"):
        rbp_engine.runs().to_frame()


def test_a_damaged_run_is_listed_as_unreadable(write_run, tmp_path):
    write_run(tmp_path, "broken").run_json.write_text("{")
    (run,) = rbp_engine.runs(runs_dir=tmp_path)
    assert (run.status, run.settings) == ("unreadable", {})
    assert "run.json is damaged" in run.reason


def test_importing_the_engine_and_listing_runs_imports_no_torch():
    code = (
        "import sys, rbp_engine; print(len(rbp_engine.runs('T=2'))); assert not {'torch', 'pydantic'} & {*sys.modules}"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "2\n"


def test_what_the_engine_does_not_have_is_an_attribute_error():
    with pytest.raises(AttributeError, match="has no attribute 'lode'"):
        rbp_engine.lode  # noqa: B018


@pytest.mark.filterwarnings("ignore:.*no time to compile")
def test_the_page_works_as_written(trained, capsys, monkeypatch):
    pytest.importorskip("pandas")
    monkeypatch.setattr(compiler, "problem", lambda device: "no time to compile")
    text = PAGE.read_text()
    commands = re.findall(r"^rbp train .* --id (\w+)$", text, re.MULTILINE)
    assert commands == ["first", "moving"]  # the runs of the fixture
    blocks = re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    names = {}
    for block in blocks:
        exec(compile(block, str(PAGE), "exec"), names)
    (recorded,) = (run.best for run in rbp_engine.runs() if run.id == "first")
    said = capsys.readouterr().out
    assert said.startswith(f"{100 * recorded:.2f} %\nfirst"[:8]) and "loss" in said and "count" in said
    assert len(blocks) > 6
    (tracked,) = rbp_engine.runs("name=linear settings.note:spikes lr=0.1")
    shutil.rmtree(tracked.folder)  # the other tests know of three runs
    assert (tracked.status, tracked.epoch) == ("completed", 3) and tracked.best is not None and tracked.best > 0.5
