"""The query language on real run folders, and that every field of a summary and of a preset can be asked."""

import shutil
import time
from collections.abc import Iterator
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest
import tomli
from hypothesis import assume, example, given
from hypothesis import strategies as st

from rbp_engine.preset import SHORT_NAMES, load_preset
from rbp_engine.preset import fields as preset_fields
from rbp_engine.run.errors import RunError
from rbp_engine.run.files.annotations import change_tags, read_annotations, set_archived, set_note
from rbp_engine.run.files.layout import RunDirectory
from rbp_engine.run.files.summary import Summary, write_status
from rbp_engine.run.launch import launch
from rbp_engine.run.store.query import QueryError, fitting_runs, parse_query, select_runs
from rbp_engine.run.store.query_fields import field_names, find_field
from rbp_engine.run.store.query_values import moments
from rbp_engine.run.store.store import find_run, list_runs, record
from tests.run_files import change_fields, change_identity

DAY = 86400.0


def make(runs: Path, run_id: str, *words: str, **changes: object) -> RunDirectory:
    """A run as `rbp train` makes it, with a summary as its worker leaves it."""
    run = launch.create(load_preset("digits", words), runs, run_id=run_id)
    change_fields(run, **{"status": "completed"} | changes)
    return run


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    """good (rate_M, T=4), other (BPTT, T=6, failed), young (no results yet)."""
    runs = tmp_path_factory.mktemp("runs")
    good = make(
        runs, "good", "run.name=the good one", "run.tags=['paper', 'main']", best={"top1": 0.9561, "epoch": 3},
        last={"top1": 0.951, "loss": 0.3, "top5": 1.0}, train={"loss": 0.21}, epoch=20, step=400,
        created=time.time() - 3 * DAY, samples_per_s=4812.0, mem_peak=8 * 2**30, trained_s=5400.0,
    )  # fmt: skip
    make(
        runs, "other", "method=bptt", "T=6", "lr=0.05", "neuron.surrogate_args.alpha=2", "batch=32", "seed=12",
        best={"top1": 0.5}, last={"top1": 0.4}, status="failed", reason="CUDA out of memory", created=time.time() - 60,
    )  # fmt: skip
    make(runs, "young", "T=2", status="killed", created=time.time())
    change_tags(good, add=["kept"], remove=["main"])
    set_note(good, "for the table")
    return list_runs(runs)


@pytest.fixture
def fitting(records):
    return lambda text: [record.run.id for record in records if parse_query(text)(record)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "good other young"),
        ("acc>0.9", "good"),
        ("acc>90%", "good"),
        ("acc=95.61", "good"),
        ("loss<0.3 val_loss>=0.3", "good"),
        ("method:RATE", "good young"),
        ("method=rate_m", "good young"),
        ("method=rate", ""),
        ("status:fail", "other"),
        ("status:completed or status:failed", "good other"),
        ("tag:kept tags=paper", "good"),
        ("tag:main", ""),
        ("note:table", "good"),
        ('name="the good one"', "good"),
        ("good", "good"),
        ("not:digits", ""),
        ("-bptt", "good young"),
        ("not bptt T>2", "good"),
        ("not not good", "good"),
        ("lr=0.05", "other"),
        ("neuron.surrogate_args.alpha=2", "other"),
        ("neuron.surrogate_args.nothing=2", ""),
        ("created>2d", "other young"),
        ("age<3h", "other young"),
        ("age>1d12h", "good"),
        ("trained>=1h30m", "good"),
        ("mem>=8GiB", "good"),
    ],
)
def test_a_query_fits_the_runs_that_it_describes(fitting, text, expected):
    assert fitting(text) == expected.split()


def test_whole_numbers_are_compared_without_a_tolerance(tmp_path):
    for seed in (1234567890, 1234567891, 2**62, 2**62 + 1):
        make(tmp_path, f"of-{seed}", f"seed={seed}")
    for seed in (1234567890, 2**62 + 1):
        assert [one.run.id for one in list_runs(tmp_path) if parse_query(f"seed={seed}")(one)] == [f"of-{seed}"]


@pytest.mark.parametrize(("day", "hours"), [("2026-10-25", 25), ("2026-03-29", 23), ("2026-07-01", 24)])
def test_a_day_ends_at_midnight_also_where_the_time_changes(monkeypatch, day, hours):
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    try:
        begin, end = moments(day)
        minute = moments("2026-10-25T02:59")
    finally:
        monkeypatch.undo()
        time.tzset()
    assert end - begin == hours * 3600 and minute[1] - minute[0] == 60


def test_an_id_is_equal_by_its_last_characters_as_where_a_run_is_named(tmp_path):
    run = make(tmp_path, "20260101-120000-digits-rate_m-77a4")
    make(tmp_path, "20260101-120000-digits-rate_m-77a5", "seed=2")
    for query in ("id=77a4", "id=77A4", "id:77a4", f"id={run.id}", "not:id!=77a4"):
        assert fitting_runs(tmp_path, query) == [run], query
    assert fitting_runs(tmp_path, "id=7a4") == []


def test_equal_to_a_part_of_a_text_finds_nothing_and_says_what_does(tmp_path):
    make(tmp_path, "one", "run.name=night 1")
    make(tmp_path, "two", "run.name=night 2", "T=2")
    with pytest.raises(RunError, match=r"fits 'name=night': = compares whole texts; 'name:night' finds 2$"):
        select_runs(tmp_path, ["name=night"])
    with pytest.raises(RunError, match=r"fits 'name = night T=2': = compares whole texts; 'name:night T:2' finds 1$"):
        select_runs(tmp_path, ["name = night", "T=2"])
    with pytest.raises(RunError, match=r"fits 'name=day'$"):
        select_runs(tmp_path, ["name=day"])


def test_a_date_covers_the_whole_day(fitting, records):
    day = time.strftime("%Y-%m-%d", time.localtime(records[0].summary.created))
    assert fitting(f"created:{day}") == ["good"]
    assert fitting(f"created<={day}") == ["good"] and fitting(f"created<{day}") == []
    assert fitting(f"created>{day}") == ["other", "young"]
    assert fitting(f"created>={day}") == ["good", "other", "young"]


@pytest.mark.parametrize(
    ("text", "term", "position", "words"),
    [
        ("T=4 acz>0.9", "acz>0.9", 4, "Did you mean 'acc'?"),
        ("qqqq=1", "qqqq=1", 0, "Fields: acc, best"),
        ("acc>high", "acc>high", 0, "expected a number, got 'high'"),
        ("acc>190%", "acc>190%", 0, "as 0.9 or 90%"),
        ("speed>4k", "speed>4k", 0, "expected a number"),
        ("method>x", "method>x", 0, "method is text: use method=word"),
        ("age<3", "age<3", 0, "30m, 3h"),
        ("created>soon", "created>soon", 0, "a date"),
        ("created=2d", "created=2d", 0, "created>2d"),
        ("good acc>", "acc>", 5, "nothing behind the >"),
        ("good -", "-", 5, "nothing behind it to turn round"),
        ("or good", "or", 0, "nothing before it"),
        ("good or", "or", 5, "nothing behind it"),
        ("not or good", "not", 0, "nothing behind it"),
        ("name:'x", "name:'x", 0, "not closed"),
        (">0.9", ">0.9", 0, "begins with the name of a field"),
        ("mem>much", "mem>much", 0, "as 8GiB"),
        ("status=complted", "status=complted", 0, "no run has the status 'complted'. Did you mean 'completed'?"),
        ("status:xyz", "status:xyz", 0, "There are: queued, running, stalled, starting, stopping, completed, failed"),
        ("status=pruned", "status=pruned", 0, "cause:pruned"),
        ("cause=oom", "cause=oom", 0, "out_of_memory"),
        ("acc>90 %", "%", 7, "without a space: acc>90%"),
    ],
)
def test_an_error_names_the_term_its_position_and_similar_names(text, term, position, words):
    with pytest.raises(QueryError) as caught:
        parse_query(text)
    assert (caught.value.term, caught.value.position, caught.value.exit_code) == (term, position, 2)
    assert words in str(caught.value) and f"character {position + 1}" in str(caught.value)


def test_damaged_values_fit_no_comparison_and_cause_no_error(tmp_path):
    run = make(tmp_path, "broken", best={"top1": "x"}, last=[], epoch=True)
    change_identity(run, settings={"optim": 5, "train": {"precision": []}})
    change_identity(make(tmp_path, "unreadable"), timesteps=None)
    broken, unreadable = sorted(list_runs(tmp_path), key=lambda record: record.run.id)
    assert broken.readable and not unreadable.readable
    for text in ("acc>0", "last>0", "epoch=1", "lr>0", "train.precision:p"):
        assert not parse_query(text)(broken) and parse_query(f"not {text}")(broken)
        assert not parse_query(text)(unreadable) and parse_query(f"not {text}")(unreadable)
    assert not parse_query("T>0")(unreadable) and parse_query("not T>0")(unreadable)


FIELD = st.sampled_from([*field_names(), "optim.lr", "neuron.surrogate_args.alpha", "nothing", "data.flip"])
VALUE = st.one_of(
    st.floats().map(str), st.integers().map(str), st.from_regex(r"[0-9.]{1,4}[smhdwkKGiB%]{0,3}", fullmatch=True),
    st.dates().map(str), st.text(max_size=6).map(lambda text: "".join(text.split())),
    st.sampled_from(["rate", "'a b'", "0.9", "2d", "true"]),
)  # fmt: skip
TERM = st.one_of(
    st.builds(lambda field, sign, value: f"{field}{sign}{value}", FIELD,
              st.sampled_from([":", "=", "!=", "<", ">", "<=", ">="]), VALUE),
    st.sampled_from(["good", "'the good one'", "digits", "xyz", "archived", "@night", "@"]),
)  # fmt: skip


@given(st.one_of(st.text(), st.lists(st.one_of(TERM, st.sampled_from(["or", "not", "-", "not:"]))).map(" ".join)))
def test_parsing_a_query_raises_only_query_errors(text):
    try:
        parse_query(text)
    except QueryError as error:
        assert 0 <= error.position <= len(text)


@given(negation=st.sampled_from(["-", "not ", "not:"]), term=TERM)
@example(negation="-", term="status:''0")
def test_a_negated_term_fits_exactly_the_other_runs(records, negation, term):
    try:
        fits, fits_not = parse_query(term), parse_query(negation + term)
    except QueryError:
        assume(False)
    assert all(fits(record) is not fits_not(record) for record in records)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("method=ratem", "no run has the method 'ratem'. Did you mean 'rate_m'?"),
        ("acc>0.9 not:precision!=fp61", "no run has the precision 'fp61'. Did you mean 'fp16'?"),
        ("neuron.reset:x", "no run has the neuron.reset 'x'. There are: soft, hard"),
    ],
)
def test_a_value_that_no_preset_and_no_run_has_is_an_error(records, text, words):
    with pytest.raises(QueryError) as caught:
        parse_query(text).require_known(records)
    assert words in str(caught.value)


def test_a_value_of_own_code_or_of_another_program_is_no_error(tmp_path):
    make(tmp_path, "tracked", method="my_method")
    for text in ("method=my_method", "arch=nets.py:Net", "method:rate", "method=bptt"):
        parse_query(text).require_known(list_runs(tmp_path))
    parse_query("method=ratem").require_known([])


# Fields whose status lists do not take from the file, and the id, which is that of the folder.
JUDGED = {"status", "reason", "cause", "id"}


def an_example(name: str, hint: Any) -> Any:
    if name in ("status", "cause"):
        return {"status": "failed", "cause": "data"}[name]
    kinds = {hint, *get_args(hint)}
    if list in kinds or getattr(hint, "__origin__", None) is list:
        return ["paper", "draft"]
    # Accuracies are fractions, and no time is 0.25.
    return 7 if int in kinds else 0.25 if float in kinds else f"some {name}"


def summary_values() -> Iterator[tuple[str, Any]]:
    for name, hint in get_type_hints(Summary).items():
        if is_dataclass(hint):
            yield from ((f"{name}.{part}", an_example(part, inner)) for part, inner in get_type_hints(hint).items())
        else:
            yield name, an_example(name, hint)


@pytest.fixture(scope="module")
def known(tmp_path_factory):
    """A run of a preset with all sections, whose summary has a value in every field."""
    run = launch.create(load_preset("cifar10-resnet18"), tmp_path_factory.mktemp("runs"), run_id="one")
    summary: dict[str, Any] = {}
    for name, value in summary_values():
        section, _, part = name.rpartition(".")
        (summary.setdefault(section, {}) if section else summary)[part] = value
    change_fields(run, **summary)
    found = record(run)
    assert found.readable, found.verdict.reason
    return found


@pytest.mark.parametrize(("name", "value"), list(summary_values()))
def test_every_field_of_the_summary_can_be_asked(known, name, value):
    found = find_field(name).get(known)
    if name not in JUDGED:
        assert (list(found) if isinstance(found, tuple) else found) == value
    word = found[0] if isinstance(found, tuple) else found
    if find_field(name).kind == "time":
        assert parse_query(f"{name}>1970-01-01")(known) is (value > 86400)
    elif find_field(name).kind == "span":
        assert parse_query(f"{name}<1m")(known)
    else:
        query = f"{name}='{word}'"
        assert parse_query(query)(known) and not parse_query(f"not {query}")(known)


def preset_values(path: Path) -> Iterator[tuple[str, Any]]:
    written = tomli.loads(path.read_text())
    for key in (info.key for info in preset_fields() if "[]" not in info.key):
        value: Any = written
        for part in key.split("."):
            value = value.get(part)
        yield key, value


def test_every_field_of_the_preset_and_every_short_name_can_be_asked(known):
    asked = set()
    for key, value in preset_values(known.run.preset_toml):
        assert find_field(key).get(known) == value or key in ("preset", "name"), key
        if isinstance(value, (str, int, float)) and "'" not in str(value) and "\n" not in str(value):
            text = str(value).lower() if isinstance(value, bool) else str(value)
            assert parse_query(f"{key}='{text}'")(known) or value == "", key
            asked.add(key)
    assert len(asked) > 60 and {"title", "optim.lr", "run.seed", "paper.cell", "data.flip"} <= asked
    assert set(SHORT_NAMES) <= set(field_names())


# Runs that words select, and those in the archive, which queries leave out unless they ask.


@pytest.fixture
def runs(make_run, tmp_path):
    make_run("one", status="failed", timesteps=4, created=1.0)
    make_run("two", status="completed", timesteps=4, created=2.0, name="mine")
    make_run("three", status="completed", timesteps=6, created=3.0)
    return tmp_path / "runs"


def ids(runs: Path, query: str, *, archived: bool = False) -> list[str]:
    return [run.id for run in fitting_runs(runs, query, archived=archived)]


def test_references_and_queries_select_each_run_once_and_words_of_a_query_are_one(runs):
    assert [run.id for run in select_runs(runs, ["mine", "status:completed", "one"])] == ["two", "one", "three"]
    assert [run.id for run in select_runs(runs, ["status:completed", "name:mine"])] == ["two"]
    assert [run.id for run in select_runs(runs, ["T=6", "or", "name:mine", "one"])] == ["one", "two", "three"]
    for word in ("four", "status:running", "nothing=1"):
        with pytest.raises(RunError):
            select_runs(runs, ["one", word])


def test_the_archive_is_left_out_unless_a_query_asks_for_it(runs):
    two = RunDirectory(runs / "two")
    change_tags(two, add=["kept"])
    set_archived(two, archived=True)
    set_note(two, "later")
    assert read_annotations(two).archived and read_annotations(two).added == ("kept",)
    assert ids(runs, "") == ["one", "three"] and ids(runs, "status:completed") == ["three"]
    assert ids(runs, "archived") == ids(runs, "archived=true T=4") == ids(runs, "Archived") == ["two"]
    assert [run.id for run in select_runs(runs, ["archived"])] == ["two"]
    assert ids(runs, "not:archived") == ids(runs, "archived:false") == ["one", "three"]
    assert ids(runs, "archived or T=6") == ["two", "three"]
    assert ids(runs, "T=4", archived=True) == ["one", "two"]
    with pytest.raises(RunError, match="fits 'tag=kept'"):
        select_runs(runs, ["tag=kept"])
    assert [run.id for run in select_runs(runs, ["two"])] == ["two"]  # a run that is named is meant
    set_archived(two, archived=False)
    assert ids(runs, "status:completed") == ["two", "three"] and read_annotations(two).note == "later"


def test_a_run_copied_in_by_hand_is_found_and_so_is_every_change(runs):
    assert ids(runs, "note:slope or T=6") == ["three"]
    shutil.copytree(runs / "three", runs / "copy")
    assert ids(runs, "T=6") == ["copy", "three"]
    set_note(RunDirectory(runs / "one"), "another slope")
    assert ids(runs, "slope") == ["one"]
    (runs / "one" / "annotations.json").write_text('{"note": "other"}')
    assert ids(runs, "slope") == [] and ids(runs, "note:other") == ["one"]
    write_status(RunDirectory(runs / "two"), "failed", "out of room")
    assert ids(runs, "reason:room") == ["two"]
    shutil.rmtree(runs / "three")
    assert ids(runs, "T=6") == ["copy"]


def test_last_is_no_run_in_the_archive_and_a_live_run_is_never_out_of_the_way(runs, make_run):
    set_archived(RunDirectory(runs / "three"), archived=True)
    assert find_run(runs, "last").id == "two"
    set_archived(make_run("live", created=4.0), archived=True)
    assert find_run(runs, "last").id == "live"
    assert [record.run.id for record in list_runs(runs) if record.hidden] == ids(runs, "archived") == ["three"]
