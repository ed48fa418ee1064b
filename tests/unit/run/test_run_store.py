import shlex
import time

import pytest

from rbp_engine.run.errors import RunError
from rbp_engine.run.status.status import LOST_AFTER_S
from rbp_engine.run.store.query import select_runs
from rbp_engine.run.store.store import find_run, list_runs
from rbp_engine.run.store.trash import remove_run

FIRST, SECOND, THIRD = "20260101-120000-digits-bptt-aaaa", "20260101-130000-digits-bptt-bbbb", "20260202-0-x-cccc"


@pytest.fixture
def runs(make_run, tmp_path):
    make_run(THIRD, status="completed", created=3.0, name="fine one, naïve")
    make_run(SECOND, status="completed", created=2.0, name="twice")
    make_run(FIRST, status="completed", created=1.0, name="twice")
    return tmp_path / "runs"


@pytest.mark.parametrize(
    ("reference", "expected"),
    [(FIRST, FIRST), ("20260101-12", FIRST), ("202602", THIRD), ("bbbb", SECOND), ("fine one, naïve", THIRD),
     ("last", THIRD)],
)  # fmt: skip
def test_a_run_is_found_by_id_prefix_last_four_name_or_last(runs, reference, expected):
    assert find_run(runs, reference).id == expected


def test_an_id_that_is_a_prefix_of_another_means_itself(make_run, runs):
    make_run("2026")
    assert find_run(runs, "2026").id == "2026"


@pytest.mark.parametrize(("reference", "fitting"), [("20260101", [FIRST, SECOND]), ("twice", [FIRST, SECOND])])
def test_an_ambiguous_reference_lists_the_candidates(runs, reference, fitting):
    with pytest.raises(RunError) as caught:
        find_run(runs, reference)
    message = str(caught.value)
    assert "may be any of 2 runs" in message and [run for run in (FIRST, SECOND, THIRD) if run in message] == fitting


@pytest.mark.parametrize(
    "reference", ["", "nothing", "aaa", "../runs", "..", ".", "/", f"../runs/{FIRST}", f"{FIRST}/", "/etc"]
)
def test_a_reference_to_no_run_or_with_a_path_is_refused(runs, reference):
    with pytest.raises(RunError):
        find_run(runs, reference)


def test_a_word_in_names_of_runs_and_terms_that_no_run_fits_say_how_to_find_them(runs):
    with pytest.raises(RunError, match="name:wic takes all with it in their name"):
        find_run(runs, "wic")
    with pytest.raises(RunError, match="fits 'name:twice T=77': a run must fit all of it; 'or' between terms"):
        select_runs(runs, ["name:twice", "T=77"])
    with pytest.raises(RunError, match=r"fits 'T=77'$"):
        select_runs(runs, ["T=77"])


def test_beside_a_query_a_word_that_names_no_run_is_a_term_of_it(runs):
    assert [run.id for run in select_runs(runs, ["twice", "T=4"])] == [FIRST, SECOND]
    assert [run.id for run in select_runs(runs, [THIRD, "twice", "T=4"])] == [THIRD, FIRST, SECOND]
    with pytest.raises(RunError, match="may be any of 2 runs; name=twice takes them all"):
        select_runs(runs, ["twice"])


def test_a_missing_runs_directory_has_no_runs(tmp_path):
    assert list_runs(tmp_path / "nowhere") == []
    with pytest.raises(RunError, match="nowhere"):
        find_run(tmp_path / "nowhere", "last")


def test_runs_are_listed_oldest_first_and_other_files_are_ignored(runs):
    (runs / "notes.txt").write_text("mine")
    (runs / "folder").mkdir()
    (runs / ".removed-x").mkdir()
    (runs / SECOND / "summary.json").write_text("{")
    (runs / SECOND / "run.json").unlink()
    assert [entry.run.id for entry in list_runs(runs)] == [FIRST, THIRD]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{", "run.json is damaged (input data was truncated)"),
        ('"format": 2', "it is of format 2, and this rbp reads 1"),
        ('"tags": [1]', "tags[0]: expected str, got int"),
    ],
)
def test_an_unreadable_run_is_listed_with_the_reason(runs, text, reason):
    path = runs / SECOND / "run.json"
    path.write_text(text if text[0] in "{[" else f"{path.read_text().rstrip()[:-1]}, {text}}}")
    (found,) = [entry for entry in list_runs(runs) if not entry.readable]
    assert (found.run.id, found.verdict.status) == (SECOND, "unreadable")
    assert reason in found.verdict.reason
    assert find_run(runs, "last").id == THIRD


def test_a_silent_run_with_a_living_process_is_not_removed(make_run, sleeper):
    run = make_run(updated=time.time() - LOST_AFTER_S - 60)
    process = sleeper(run)
    with pytest.raises(RunError, match=f"process {process.pid}"):
        remove_run(run)
    assert run.summary_json.is_file()


@pytest.mark.parametrize("name", ["base", "my run"])
def test_the_query_for_runs_of_one_name_means_them_and_no_others(make_run, runs, name):
    same = [make_run(f"{number}-x-{number * 4}", name=name).id for number in ("a", "b")]
    make_run("c-x-cccc", name=f"{name}line")
    with pytest.raises(RunError) as caught:
        find_run(runs, name)
    (query,) = shlex.split(str(caught.value).partition("; ")[2].partition(" takes them all")[0])
    assert sorted(run.id for run in select_runs(runs, [query])) == same
    with pytest.raises(RunError) as caught:
        find_run(runs, name[:-1])
    (query,) = shlex.split(str(caught.value).partition("(")[2].partition(" takes all")[0])
    assert len(select_runs(runs, [query])) == 3
