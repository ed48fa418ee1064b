"""What `rbp eval` keeps in a run."""

import functools
import json
import operator
from dataclasses import replace

import pytest

from rbp_engine.run.errors import RunError
from rbp_engine.run.files.evaluation_json import Evaluation, read_evaluation, save_evaluation
from rbp_engine.run.files.layout import RunDirectory
from tests.damaged_files import evaluation


@pytest.fixture
def run(tmp_path):
    (tmp_path / "run").mkdir()
    return RunDirectory(tmp_path / "run")


def test_what_is_saved_is_read_and_the_other_part_stays(run):
    assert read_evaluation(run) == Evaluation()
    found = evaluation()
    save_evaluation(run, Evaluation(by_class=found.by_class))
    assert read_evaluation(run) == Evaluation(None, found.by_class)
    save_evaluation(run, Evaluation(robustness=found.robustness))
    assert read_evaluation(run) == found
    later = replace(found.robustness, seed=7)
    save_evaluation(run, Evaluation(later))
    assert read_evaluation(run) == Evaluation(later, found.by_class)
    assert found.by_class.matrix() == [[9, 1], [1, 9]]


DAMAGES = [
    (("by_class", "classes"), [[], {}, None, [3], [{}]]),
    (("by_class", "classes", 0, "samples"), [-1, 1.5, None, "7", 1e400, 10**30]),
    (("by_class", "confusions", 0, "label"), [2, -1, 10**9]),
    (("by_class", "worst", 1, "confidence"), [1.5, -0.1, float("nan")]),
    (("by_class", "of", "top1"), [7, None, []]),
    (("by_class", "of"), [None, [], 3]),
    (("robustness", "rows", 0, "kind"), ["sideways", 3]),
    (("robustness", "rows", 0, "top1"), [2.0, "x"]),
    (("robustness", "of", "t"), [1e12, "yesterday"]),
    (("robustness", "seed"), [None, "0"]),
]


@pytest.mark.parametrize(("path", "values"), DAMAGES)
def test_a_damaged_file_is_nothing(run, path, values):
    for value in values:
        document = json.loads(json.dumps(evaluation().as_json()))
        functools.reduce(operator.getitem, path[:-1], document)[path[-1]] = value
        run.evaluation_json.write_text(json.dumps(document))
        assert read_evaluation(run) == Evaluation(), value


def test_a_folder_that_cannot_be_written_is_an_error(run):
    with pytest.raises(RunError, match="cannot write"):
        save_evaluation(RunDirectory(run.path / "gone"), evaluation())
