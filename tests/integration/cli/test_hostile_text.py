"""Commands over runs whose every text is hostile to a terminal: what they print controls nothing, and all end."""

import csv
import json
import re

import pytest
import tomli

from rbp_engine.printable import LONGEST_TEXT
from rbp_engine.run import track
from rbp_engine.run.files.annotations import note_as_written, read_annotations, set_note
from rbp_engine.run.files.events import ErrorRaised, WarningRaised

COLOUR = re.compile(r"\x1b\[[0-9;:]*m")
CONTROL = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")

COMMANDS = (
    "ls", "ls --json", "show bad", "show bad --json", "show bad-done", "watch bad", "watch bad --json",
    "watch bad-done", "logs bad", "runs csv bad", "compare bad bad-done", "compare bad bad-done --json",
    "report --include-unfinished", "report --include-unfinished --json",
    "report --include-unfinished --format markdown", "report --include-unfinished --format latex",
    "report --include-unfinished --format csv", "paper --missing", "runs tag bad", "runs tag bad --json",
    "runs note bad", "runs rm bad", "stop bad", "stop --now bad", "resume bad", "resume bad --json", "queue",
    "figure curves bad -o bad.svg", "train --like bad", "train digits --resume-or-start --id bad",
)  # fmt: skip


@pytest.fixture
def rbp_there(rbp_here, write_texts, hostile_text):
    write_texts(rbp_here.runs, "bad", hostile_text)
    write_texts(rbp_here.runs, "bad-done", hostile_text, "completed")
    write_texts(rbp_here.runs, "bad-odd", hostile_text, hostile_text)
    return rbp_here


@pytest.mark.parametrize(
    "words",
    [
        ("ls", "--sort"), ("ls",), ("show",), ("runs", "tag", "bad"), ("stop",), ("presets", "schema"),
        ("presets", "show"), ("data", "check"), ("paper", "--missing"), ("bench", "--against"), (), ("runs",),
        ("ls", "--runs-dir"),
    ],
)  # fmt: skip
def test_what_was_typed_is_printable_in_messages(rbp_there, hostile_text, words):
    typed = hostile_text.replace("\ud800", "").replace("\0", "")
    done = rbp_there(*words, typed, code=None)
    assert r"\x1b]52" in done.stdout + done.stderr
    assert CONTROL.findall(done.stdout + done.stderr) == []


PRESET_COMMANDS = (
    "presets list", "presets list --json", "presets show bad", "presets show bad --json", "presets show broken",
    "presets check", "presets check --json", "presets diff bad digits", "train bad --dry-run",
    "train bad --dry-run --json", "train bad --slurm", "train broken", "paper --missing bad",
    "paper --missing broken",
)  # fmt: skip


@pytest.mark.parametrize("command", PRESET_COMMANDS)
def test_no_text_of_a_preset_controls_the_terminal_or_ends_a_command(rbp_here, hostile_text, command):
    text = json.dumps(hostile_text.replace("\ud800", ""))
    presets = rbp_here.folder / "presets"
    presets.mkdir()
    paper = f"[paper]\ncell = {text}\nsource = {text}\nnote = {text}\n"
    (presets / "bad.toml").write_text(f'extends = "digits"\ntitle = {text}\ndescription = {text}\n{paper}')
    wrong = f"[model]\nname = {text}\n[data]\nname = {text}\nodd = {text}\n{text} = 1\n"
    wrong += f"[run]\nname = {text}\ntags = [{text}]\n"
    (presets / "broken.toml").write_text(f"title = {text}\n{wrong}")
    (presets / "bad[b] \x1b[2J\u202e.toml").write_text(f"title = {text}\n")
    done = rbp_here(*command.split(), code=None)
    output = done.stdout + done.stderr
    assert output
    assert CONTROL.findall(output) == []
    assert "💣" not in output
    if command == "presets show bad":  # saved to a file, it is the same preset
        assert tomli.loads(done.stdout)["description"] == json.loads(text)


@pytest.mark.parametrize("command", COMMANDS)
def test_no_text_of_a_run_controls_the_terminal_or_ends_a_command(rbp_there, command):
    done = rbp_there(*command.split(), code=None)
    output = done.stdout + done.stderr
    assert output
    if command == "logs bad":
        assert "\x1b[1;31mred\x1b[0m" in output
        output = COLOUR.sub("", output).replace("\t", "")
    assert CONTROL.findall(output) == []
    assert "💣" not in output
    if "--json" in command:
        for line in done.stdout.splitlines() if command.startswith(("watch", "resume")) else [done.stdout]:
            assert not line or json.loads(line)


@pytest.mark.parametrize("command", ["runs csv theirs --columns method", "report --format csv"])
def test_no_text_of_a_run_is_a_formula_in_tables_for_spreadsheets(rbp_here, command):
    with track({"method": "=1+1"}, run_id="theirs", runs_dir=rbp_here.runs) as run:
        run.log(test_acc=0.5)
    cells = next(csv.reader(rbp_here(*command.split()).stdout.splitlines()[1:]))
    assert "'=1+1" in cells and not [cell for cell in cells if cell.startswith("=")]


def test_a_message_of_200_kb_is_cut_where_people_read_it_and_whole_in_json(rbp_here, write_run):
    long = "x" * 200_000
    said = (ErrorRaised(long), WarningRaised(long))
    run = write_run(rbp_here.runs, "long", bodies=said, status="failed", reason=long)
    set_note(run, "y" * 200_000)
    for command in ("show long", "ls", "watch long", "report", "compare long"):
        done = rbp_here(*command.split(), code=None)
        assert len(done.stdout + done.stderr) < 8 * LONGEST_TEXT, command
    assert "…" in rbp_here("show", "long").stdout
    assert rbp_here.json("show", "long")["summary"]["reason"] == long
    assert rbp_here.json("ls")[0]["note"] == "y" * 200_000
    assert rbp_here("watch", "long", "--json", code=None).stdout.count("x") == 400_000


def test_tags_and_notes_of_ordinary_unicode_are_printed_as_they_were_written(rbp_here, write_run):
    run = write_run(rbp_here.runs, "run")
    words = "Größe ±µ 学習 שלום 👩‍🔬 [b] :bomb:"
    rbp_here("runs", "note", "run", words)
    rbp_here("runs", "tag", "run", "+größe", "+[b]", "+学習")
    assert read_annotations(run).note == note_as_written(run) == words
    assert rbp_here("runs", "note", "run").stdout == f"{words}\n"
    assert "größe [b] 学習" in rbp_here("runs", "tag", "run").stdout
    assert words in rbp_here("show", "run").stdout
