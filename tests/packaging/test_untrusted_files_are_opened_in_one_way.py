"""Files that somebody else may have made are opened by `rbp_engine/untrusted_files.py` and nowhere else."""

import ast
from pathlib import Path

import rbp_engine

ROOT = Path(rbp_engine.__file__).parents[1]
PACKAGES = ("rbp_engine", "rbp_tui")
OPENING = {"open", "fdopen", "read_text", "read_bytes", "read_lines"}
KERNEL = "a file of the kernel"
OWN = "a file of this user's own, in the state directory or the cache"
MADE = "writes a file that it has just made"
INSIDE = "opens what is in a run, by the descriptor of its folder and never through a link"
MEMBER = "a member of an archive that was opened in the one way"
#: The functions that may open a file by other means, and why.
ALLOWED = {
    ("rbp_engine/untrusted_files.py", "open_untrusted"): "the one way",
    ("rbp_engine/compile_cache.py", "_processor"): KERNEL,
    ("rbp_engine/bench/measure/load.py", "processor"): KERNEL,
    ("rbp_engine/train/memory.py", "limits_in_groups"): KERNEL,
    ("rbp_engine/train/memory.py", "free_in_groups"): KERNEL,
    ("rbp_engine/train/memory.py", "limits_of_groups"): KERNEL,
    ("rbp_engine/child.py", "answer_each"): "/dev/null",
    ("rbp_engine/data/events/archives.py", "_array"): MEMBER,
    ("rbp_engine/data/events/narrow_array.py", "write_narrowly"): MADE,
    ("rbp_engine/data/open_feed.py", "open_feed"): "opens a data set, whose reader opens its files",
    ("rbp_engine/data/readers/image_folders.py", "_save_listing"): MADE,
    ("rbp_engine/data/readers/image_headers.py", "check_header"): "an image in a file that was opened in the one way",
    ("rbp_engine/disk.py", "sync"): "flushes what it has just written",
    ("rbp_engine/lease.py", "_mount_reaches_all"): KERNEL,
    ("rbp_engine/lease.py", "_open"): "never follows a link, never blocks, and is read up to a limit",
    ("rbp_engine/lease.py", "_reaches_all"): KERNEL,
    ("rbp_engine/lease.py", "_remove_dead"): KERNEL,
    ("rbp_engine/os_process.py", "_place"): KERNEL,
    ("rbp_engine/os_process.py", "_started"): KERNEL,
    ("rbp_engine/os_process.py", "resident"): KERNEL,
    ("rbp_engine/preset/author.py", "_write"): MADE,
    ("rbp_engine/run/writer.py", "__init__"): INSIDE,
    ("rbp_engine/run/files/inside.py", "_open_folder"): INSIDE,
    ("rbp_engine/run/files/inside.py", "copy"): INSIDE,
    ("rbp_engine/run/files/inside.py", "folder"): INSIDE,
    ("rbp_engine/run/files/inside.py", "open"): INSIDE,
    ("rbp_engine/run/files/inside.py", "open_file"): INSIDE,
    ("rbp_engine/run/files/inside.py", "write"): INSIDE,
    ("rbp_engine/run/writer.py", "make_reserve"): INSIDE,
    ("rbp_engine/run/files/run_json.py", "_packages"): "what is installed here, as importlib finds it",
    ("rbp_engine/run/launch/environment.py", "in_background"): OWN,
    ("rbp_engine/run/launch/launch.py", "_appending"): INSIDE,
    ("rbp_engine/run/pack/packing.py", "_add"): INSIDE,
    ("rbp_engine/run/pack/packing.py", "pack"): MADE,
    ("rbp_engine/run/pack/packing.py", "_fill"): MADE,
    ("rbp_engine/run/queue/hooks.py", "_say"): "the device that keeps nothing",
    ("rbp_engine/run/queue/hooks.py", "run_hooks"): INSIDE,
    ("rbp_engine/run/queue/host_lock.py", "_read_once"): OWN,
    ("rbp_engine/run/teacher.py", "copy_teacher"): MADE,
    ("rbp_engine/run/trust.py", "_hash_of_file"): INSIDE,
    ("rbp_engine/run/trust.py", "_write_down"): OWN,
    ("rbp_engine/run/trust.py", "_trusted"): OWN,
    ("rbp_engine/settings/files.py", "write_settings"): MADE,
    ("rbp_tui/cli/measure/try_network.py", "_write_example"): MADE,
    ("rbp_tui/cli/output.py", "prepare_streams"): "the device that keeps nothing",
    ("rbp_tui/cli/presets/editor.py", "edit_text"): "the file that the user has just written in their editor",
    ("rbp_tui/dashboard/presets/drafts.py", "read_draft"): OWN,
}


def opened_in(source):
    """The function and line of each call that opens a file: `open(…)`, `os.open(…)`, `path.read_text(…)`."""

    def walk(node, function):
        for child in ast.iter_child_nodes(node):
            inside = child.name if isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef)) else function
            if isinstance(child, ast.Call):
                called = child.func
                bare = isinstance(called, ast.Name) and called.id == "open"
                if bare or (isinstance(called, ast.Attribute) and called.attr in OPENING):
                    yield function, child.lineno
            yield from walk(child, inside)

    return walk(ast.parse(source), "")


def test_no_file_is_opened_by_other_means():
    found = {}
    for path in (path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))):
        name = path.relative_to(ROOT).as_posix()
        found |= {(name, function): line for function, line in opened_in(path.read_text(encoding="utf-8"))}
    others = [f"{place[0]}:{line} in {place[1]}" for place, line in found.items() if place not in ALLOWED]
    assert not others, f"use rbp_engine/untrusted_files.py, or say here why not: {', '.join(others)}"
    assert found.keys() == ALLOWED.keys(), "the list allows what nobody does"


def test_each_way_to_open_a_file_is_seen():
    for call in (
        "open(p)",
        "p.open()",
        "os.open(p, 0)",
        "io.open(p)",
        "p.read_text()",
        "Path(p).read_bytes()",
        "f(open(p))",
    ):
        assert list(opened_in(f"def f():\n    return {call}\n")) == [("f", 2)], call
    assert not list(opened_in("from documents import read_text\nread_text(p)\nread_untrusted(p, 1)\n"))
