"""Compiled kernels are executed from their cache, so only the user may be able to write there."""

import os
import stat
import subprocess
import sys
import textwrap
from inspect import unwrap
from pathlib import Path

import pytest
from torch._inductor import codecache
from torch._inductor.runtime.cache_dir_utils import cache_dir, triton_cache_dir

from rbp_engine import compile_cache
from rbp_engine.compile_cache import CompileCacheError
from rbp_engine.health import compile_folders
from rbp_engine.run.launch.environment import worker_defaults
from rbp_engine.spiking.layers import compiler

NAMES = ("TORCHINDUCTOR_CACHE_DIR", "TRITON_CACHE_DIR")
HEADERS = ("_HEADER_DIR", "_HEADER_LOCK_DIR")


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """A user without settings and without compiled kernels."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for name in NAMES:
        monkeypatch.delenv(name)
    for name in HEADERS:
        monkeypatch.setattr(codecache, name, getattr(codecache, name))
    return tmp_path


@pytest.fixture
def foreign(tmp_path, as_root):
    """A folder that belongs to another user."""
    folder = tmp_path / "theirs"
    folder.mkdir()
    os.chown(folder, 54321, -1)
    return folder


def test_compiled_kernels_are_in_the_users_own_cache_unreadable_to_others(home):
    def never_compiled_before() -> None: ...

    compiler.jit(never_compiled_before)
    own = home / "cache" / "rbp" / "compiled"
    [inductor] = own.glob("inductor-*")
    assert (Path(cache_dir()), Path(triton_cache_dir(0))) == (inductor, own / "triton")
    for name in HEADERS:
        assert name in unwrap(codecache._precompile_header).__code__.co_names, "torch asks by another name"
        assert Path(getattr(codecache, name)).is_relative_to(inductor)
    assert {stat.S_IMODE(folder.stat().st_mode) for folder in (own, *own.iterdir())} == {0o700}


def test_a_worker_and_its_children_get_the_cache_from_their_environment(home):
    assert {worker_defaults()[name] for name in NAMES} == set(compile_cache.variables().values())
    assert all(Path(folder).is_relative_to(home) for folder in compile_cache.variables().values())


def test_kernels_for_other_vectors_lie_apart():
    """torch would execute them here: it finds a kernel by what it computes, and vectors of another length differ."""
    code = "from rbp_engine import compile_cache; print(compile_cache.variables()['TORCHINDUCTOR_CACHE_DIR'])"
    words = [sys.executable, "-c", code]
    environments = [{**os.environ, "ATEN_CPU_CAPABILITY": capability} for capability in ("avx2", "default")]
    assert len({subprocess.check_output(words, text=True, env=environment) for environment in environments}) == 2


def test_a_folder_chosen_by_the_user_is_used(home, monkeypatch):
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(home / "mine"))
    compile_cache.prepare()
    assert os.environ["TORCHINDUCTOR_CACHE_DIR"] == worker_defaults()["TORCHINDUCTOR_CACHE_DIR"] == str(home / "mine")


@pytest.mark.parametrize("name", NAMES)
def test_a_folder_of_another_user_or_that_anybody_may_write_is_refused_with_its_name(foreign, monkeypatch, name):
    def never_compiled_before() -> None: ...

    monkeypatch.setenv(name, str(foreign))
    owner = "user 54321"
    with pytest.raises(CompileCacheError, match=rf"{foreign}, which belongs to {owner}: remove it; or set {name} to"):
        compiler.jit(never_compiled_before)
    finding = compile_folders()
    assert finding.status == "problem" and f"{foreign}, which belongs to {owner}" in finding.text
    os.chown(foreign, os.geteuid(), -1)
    foreign.chmod(0o777)
    with pytest.raises(CompileCacheError, match="theirs, which may be written by everybody"):
        compile_cache.prepare()
    foreign.chmod(0o700)
    link = foreign.with_name("link")
    link.symlink_to(foreign)
    os.lchown(link, 54321, -1)
    monkeypatch.setenv(name, str(link))
    with pytest.raises(CompileCacheError, match="link, which is a link that belongs to user 54321"):
        compile_cache.prepare()


@pytest.mark.root
@pytest.mark.parametrize("level", ["", "rbp", "rbp/compiled", "rbp/compiled/triton"])
def test_the_default_folder_is_refused_if_it_belongs_to_another_user(home, level):
    """This covers every folder below the cache directory, which may be shared and may belong to anybody."""
    folder = home / "cache" / level
    folder.mkdir(parents=True)
    os.chown(folder, 54321, -1)
    if level:
        with pytest.raises(CompileCacheError, match=f"{folder}, which belongs to user 54321"):
            compile_cache.prepare()
    else:
        compile_cache.prepare()


def test_a_cache_that_cannot_be_created_is_an_error_with_a_remedy(home):
    (home / "cache").write_text("")
    with pytest.raises(CompileCacheError, match=r"cannot be made .* set XDG_CACHE_HOME to a folder of your own"):
        compile_cache.prepare()


def test_the_default_of_torch_is_no_choice_of_the_user_and_a_full_disk_no_fault_of_the_compiler(home):
    """torch sets its default on import of its compiler; in a new process, because it is loaded here."""
    code = """
        import resource, torch, torch._inductor.codecache
        from torch._inductor.runtime.cache_dir_utils import cache_dir
        from rbp_engine.spiking.layers import compiler
        cache_dir()
        kernel = compiler.jit(torch.neg)
        print(cache_dir(), flush=True)
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
        kernel(torch.ones(8))
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=False)
    own = home / "cache" / "rbp" / "compiled"
    assert Path(done.stdout).is_relative_to(own)
    last = done.stderr.splitlines()[-1]
    assert last.startswith("rbp_engine.compile_cache.CompileCacheError: torch.compile cannot write what it compiles (")
    assert f"{own}" in last and "make room there" in last
