"""A process is told from every other one, and what cannot be known of it is not guessed."""

import json
import os
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from rbp_engine.os_process import Alive, Process, here, is_alive, of, resident
from tests.other_machine import OtherMachine

IMPORTS = "import json, os, sys; from dataclasses import asdict; from rbp_engine.os_process import *; "
TELL = f"{IMPORTS}print(json.dumps(asdict(here())))"
ASK = f"{IMPORTS}print(is_alive(Process(**json.loads(sys.argv[1]))).name)"


@pytest.fixture
def box(tmp_path):
    with OtherMachine(tmp_path) as machine:
        yield machine


def test_a_process_is_alive_until_it_has_ended_also_as_a_zombie():
    process = subprocess.Popen(["sleep", "infinity"])
    named = of(process.pid)
    assert is_alive(named) is Alive.YES and is_alive(here()) is Alive.YES
    assert is_alive(replace(here(), started=7)) is Alive.NO, "a later process with the pid is another"
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert is_alive(named) is Alive.NO
    process.wait(60)
    assert is_alive(named) is Alive.NO and of(process.pid).started is None


@pytest.mark.parametrize("pid", [None, 0, -1, 2**40, True, "1", [1]])
def test_what_is_no_pid_is_no_process(pid):
    assert is_alive(replace(here(), pid=pid)) is Alive.NO


@pytest.mark.parametrize("unknown", [{"boot": "another"}, {"namespace": "pid:[1]"}, {"boot": ""}, {"namespace": ""}])
def test_of_a_process_of_another_boot_or_pid_namespace_nobody_knows(unknown):
    elsewhere = replace(here(), **unknown)
    assert is_alive(elsewhere) is Alive.UNKNOWN and not elsewhere.is_here
    assert is_alive(replace(elsewhere, pid=2**22 - 5)) is Alive.UNKNOWN
    assert str(elsewhere).endswith(f"on {here().host}, before a restart or in another container")
    assert str(replace(elsewhere, host="box2")) == f"process {os.getpid()} on box2"


def test_an_answer_is_no_yes_or_no():
    with pytest.raises(TypeError, match="three answers"):
        bool(is_alive(Process()))


@pytest.mark.root
def test_two_machines_know_nothing_of_each_others_processes(box):
    there = Process(**json.loads(box.python(TELL)))
    assert there.host == "box2" and there.boot != here().boot and there.namespace != here().namespace
    assert is_alive(there) is Alive.UNKNOWN
    # Also not of one with a pid that is theirs, too.
    assert box.python(ASK, json.dumps(asdict(replace(of(1), host="box2")))) == "UNKNOWN\n"
    assert box.python(ASK, json.dumps(asdict(there))) == "NO\n"


@pytest.mark.root
def test_a_new_name_of_the_host_changes_nothing():
    renamed = ["unshare", "--uts", "sh", "-c", 'hostname renamed && exec "$@"', "sh"]
    words = [*renamed, sys.executable, "-P", "-c", ASK, json.dumps(asdict(here()))]
    assert subprocess.check_output(words, text=True, timeout=60) == "YES\n"


@pytest.mark.root
def test_a_namespace_that_sees_the_pids_of_another_knows_nothing():
    words = ["unshare", "--pid", "--fork", sys.executable, "-P", "-c", TELL]
    assert json.loads(subprocess.check_output(words, text=True, timeout=60))["namespace"] == ""


@pytest.mark.root
def test_a_process_that_is_hidden_from_this_user_is_not_taken_for_dead():
    hidden = ["unshare", "--mount", "sh", "-c", 'mount -t proc -o hidepid=2 proc /proc && exec "$@"', "sh"]
    for named, answer in ((here(), "UNKNOWN\n"), (of(2**22 - 5), "NO\n")):
        code = ASK.replace("print", "os.setgroups([]); os.setgid(54321); os.setuid(54321); print")
        words = [*hidden, sys.executable, "-P", "-c", code, json.dumps(asdict(named))]
        assert subprocess.check_output(words, text=True, timeout=60) == answer


def test_the_peak_of_memory_is_this_process_s_own_and_not_that_of_the_one_that_started_it():
    held = bytearray(2**28)
    held[::4096] = b"x" * len(held[::4096])
    asked = "from rbp_engine.os_process import resident; print(*resident())"
    done = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True)
    now, most = map(int, done.stdout.split())
    assert 0 < now <= most < 2**27
    assert resident()[1] > len(held)


def test_where_the_kernel_does_not_say_the_memory_its_largest_stands_in(monkeypatch):
    for status in ("Name:\tpython\nVmRSS:\t    1024 kB\n", "Name:\tpython\n"):
        monkeypatch.setattr(Path, "read_text", lambda path, status=status: status)
        now, most = resident()
        assert most > 2**20 and now == (2**20 if "VmRSS" in status else most)
