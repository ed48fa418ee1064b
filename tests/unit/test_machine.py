import os
import stat
import tempfile
from pathlib import Path

import pytest
import tomli
from hypothesis import given
from hypothesis import strategies as st

from rbp_engine.errors import UserError
from rbp_engine.settings.machine import (
    Host,
    Machine,
    MachineError,
    add_data_root,
    cache_directory,
    find_host,
    machine_file,
    made_cache_directory,
    read_machine,
    runs_directory,
)


@pytest.fixture(autouse=True)
def config(tmp_path, monkeypatch):
    """The user's configuration directory, which does not exist yet."""
    directory = tmp_path / "config"
    monkeypatch.setenv("RBP_CONFIG", str(directory))
    monkeypatch.delenv("RBP_RUNS", raising=False)
    monkeypatch.chdir(tmp_path)
    return directory


def write(text: str) -> None:
    machine_file().parent.mkdir(exist_ok=True)
    machine_file().write_text(text, encoding="utf-8")


def test_without_a_file_everything_is_default(tmp_path):
    assert read_machine() == Machine()
    assert runs_directory() == tmp_path / "runs"
    assert cache_directory().is_absolute()


def test_all_settings_are_read():
    write(
        "runs = '/r'\ncache = '~/c'\n[data]\nimagenet = '/d'\n"
        "[hooks]\non_end = 'notify done'\non_failure = 'notify bad'\non_alert = 'notify now'\n"
    )
    machine = read_machine()
    assert (machine.runs, machine.cache) == (Path("/r"), Path.home() / "c")
    assert dict(machine.data) == {"imagenet": Path("/d")}
    assert (machine.on_end, machine.on_failure, machine.on_alert) == ("notify done", "notify bad", "notify now")
    assert cache_directory() == Path.home() / "c"


def test_the_runs_directory_is_chosen_by_precedence(tmp_path, monkeypatch):
    write("runs = '/from/file'\n")
    assert runs_directory() == Path("/from/file")
    monkeypatch.setenv("RBP_RUNS", "from-variable")
    assert runs_directory() == tmp_path / "from-variable"
    assert runs_directory(Path("explicit")) == tmp_path / "explicit"
    monkeypatch.setenv("RBP_RUNS", "")
    assert runs_directory() == Path("/from/file")


def test_the_users_cache_is_closed_to_others_and_one_that_the_file_names_is_not(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    for text, name, mode in ((f"cache = '{tmp_path}/shared'\n", "shared", 0o755), ("", "rbp", 0o700)):
        write(text)
        (tmp_path / name).mkdir()
        (tmp_path / name).chmod(0o755)
        assert made_cache_directory() == tmp_path / name
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == mode


def test_a_broken_file_shows_all_its_problems():
    write("run = '/r'\ncache = 3\n[data]\ncifar10 = 'relative'\n[hooks]\non_end = ['a']\non_fail = 'x'\n")
    with pytest.raises(MachineError) as caught:
        read_machine()
    assert str(caught.value) == (
        f"{machine_file()}: 5 problems\n"
        "  run (line 1)            unknown key. Did you mean 'runs'?\n"
        "  cache (line 2)          expected an absolute path, or one from ~, as a string, got the integer 3\n"
        '  data.cifar10 (line 4)   expected an absolute path, or one from ~, as a string, got the string "relative"\n'
        "  hooks.on_end (line 6)   expected a command as a string, without NUL characters, got an array\n"
        "  hooks.on_fail (line 7)  unknown key. Did you mean 'on_failure'?"
    )


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (Path.mkdir, "a directory, not a file"),
        (os.mkfifo, "a named pipe, not a file"),
        (lambda path: path.symlink_to("/dev/zero"), "a device, not a file"),
        (lambda path: path.symlink_to(path.name), "Too many levels of symbolic links"),
        (lambda path: path.write_text("#" * 300_000), "larger than 256 KiB"),
        (lambda path: path.write_text("[a]\n[b]\n" * 20_000), "more than 4000 keys"),
    ],
)
def test_a_file_that_cannot_be_read_is_refused_at_once(config, tmp_path, make, reason):
    config.mkdir()
    make(machine_file())
    for use in (read_machine, lambda: add_data_root("cifar10", tmp_path)):
        with pytest.raises(MachineError, match=reason):
            use()


def test_a_nul_character_is_refused_where_a_path_or_a_command_is_expected():
    write('runs = "/a\\u0000"\ncache = "/b\\u0000"\n[data]\ncifar10 = "/c\\u0000"\n[hooks]\non_end = "d\\u0000"\n')
    with pytest.raises(MachineError) as caught:
        read_machine()
    assert [problem.key for problem in caught.value.problems] == ["runs", "cache", "data.cifar10", "hooks.on_end"]
    assert str(caught.value).count("expected") == 4 and "\0" not in str(caught.value)


def test_adding_data_writes_the_file_and_keeps_what_was_there(tmp_path):
    add_data_root("cifar10", tmp_path)
    assert dict(read_machine().data) == {"cifar10": tmp_path}
    write("# mine\nruns = '/r'  # big disk\n\n[data]  # sets\ncifar10 = '/old' # here\n\n[hooks]\non_end = 'x'\n")
    (tmp_path / "sets").mkdir()
    add_data_root("cifar10", Path("sets"))
    add_data_root("imagenet", tmp_path)
    text = machine_file().read_text()
    for kept in ("# mine\n", "# big disk", "[data]  # sets", "# here", "on_end = 'x'"):
        assert kept in text
    assert dict(read_machine().data) == {"cifar10": tmp_path / "sets", "imagenet": tmp_path}
    assert [path.name for path in machine_file().parent.iterdir()] == ["machine.toml"]


def test_adding_missing_data_or_to_a_broken_file_writes_nothing(tmp_path):
    with pytest.raises(MachineError, match="no such folder"):
        add_data_root("cifar10", tmp_path / "absent")
    assert not machine_file().exists()
    write("broken = ")
    with pytest.raises(MachineError, match="is not TOML"):
        add_data_root("cifar10", tmp_path)
    assert machine_file().read_text() == "broken = "


def test_adding_data_keeps_a_link_a_link(tmp_path, config):
    config.mkdir()
    (tmp_path / "dotfile.toml").write_text("# linked\n")
    machine_file().symlink_to(tmp_path / "dotfile.toml")
    add_data_root("cifar10", tmp_path)
    assert machine_file().is_symlink()
    assert (tmp_path / "dotfile.toml").read_text().startswith("# linked\n")


ROOTS = st.dictionaries(st.text("abc_.1 é\"'", min_size=1, max_size=5), st.just("/x"), max_size=3)


@given(ROOTS, st.sampled_from(["inline", "table", "dotted"]), st.text("abc_.1 é\"'", min_size=1, max_size=5))
def test_added_data_reads_back_whatever_the_file_looked_like(roots, form, name):
    quoted = {'"' + key.replace('"', '\\"') + '"': f'"{root}"' for key, root in roots.items()}
    if form == "inline":
        text = "data = { " + ", ".join(f"{key} = {root}" for key, root in quoted.items()) + " }\ncache = '/c'\n"
    elif form == "table":
        text = "cache = '/c'\n[data]\n" + "".join(f"{key} = {root}\n" for key, root in quoted.items())
    else:
        text = "".join(f"data.{key} = {root}\n" for key, root in quoted.items()) + "cache = '/c'\n"
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setenv("RBP_CONFIG", folder)
        write(text)
        add_data_root(name, Path(folder))
        written = tomli.loads(machine_file().read_text())
        assert written == {"cache": "/c", "data": {**roots, name: folder}}


def test_the_number_of_cpu_slots_is_a_whole_number_with_a_maximum():
    write("cpu_slots = 3\n")
    assert read_machine().cpu_slots == 3
    write("cpu_slots = 1024\n")
    assert read_machine().cpu_slots == 1024
    for wrong in ("0", "true", "1.5", "'2'", "1025", "1000000000000"):
        write(f"cpu_slots = {wrong}\n")
        with pytest.raises(MachineError, match="whole number from 1 to 1024"):
            read_machine()


def test_hosts_are_read_and_any_other_name_is_a_destination_of_ssh():
    write("[hosts.box]\nssh = 'me@box.example.org'\nrbp = '~/venv/bin/rbp'\nruns = '/data/runs'\n[hosts.plain]\n")
    assert dict(read_machine().hosts) == {
        "box": Host("box", "me@box.example.org", "~/venv/bin/rbp", "/data/runs"),
        "plain": Host("plain", "plain", "rbp", ""),
    }
    assert find_host("box").ssh == "me@box.example.org"
    assert find_host("other@somewhere") == Host("other@somewhere", "other@somewhere")
    for name in ("-oProxyCommand=id", "two words", "", "a\nb"):
        with pytest.raises(UserError, match="no host can be called"):
            find_host(name)


def test_every_problem_of_hosts_is_reported_with_its_line():
    write("hosts.a = 'box'\n[hosts.b]\nshh = 'x'\nssh = '-oProxyCommand=id'\n[hosts.c]\nrbp = 7\nruns = \"/r\\n\"\n")
    with pytest.raises(MachineError) as caught:
        read_machine()
    found = {(problem.key, problem.line) for problem in caught.value.problems}
    assert found == {("hosts.a", 1), ("hosts.b.shh", 3), ("hosts.b.ssh", 4), ("hosts.c.rbp", 6), ("hosts.c.runs", 7)}
    assert "Did you mean 'ssh'?" in str(caught.value)
