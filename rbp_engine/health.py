"""Check that this machine is fit for training: one small check per problem seen on real machines. Without torch."""

import os
import platform
import re
import shutil
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields
from importlib import metadata
from pathlib import Path
from typing import Any, Final, Literal

from rbp_engine import child, compile_cache
from rbp_engine.errors import UserError
from rbp_engine.run.launch.environment import CARD_ORDER, module_command
from rbp_engine.run.queue.devices import is_wsl_with_card, pool_of_this_machine
from rbp_engine.run.queue.entries import entries
from rbp_engine.run.queue.host_lock import dispatcher
from rbp_engine.settings.machine import Machine, MachineError, machine_file, read_machine, runs_directory
from rbp_engine.untrusted_files import read_untrusted_text

_GIB: Final = 2**30
_LOAD_TIMEOUT_S: Final = 180.0


@dataclass(frozen=True)
class Finding:
    """The result of one check.

    `status` is "ok", "note" (training works, but the user should know) or "problem" (it does not work); `remedy` says
    what to do, "" for nothing.
    """

    name: str
    status: Literal["ok", "note", "problem"]
    text: str
    remedy: str = ""


def examine(runs: Path | None = None) -> Iterator[Finding]:
    """Make every check in turn; `runs` is the runs directory given by --runs-dir."""
    yield python()
    yield packages()
    yield torch()
    yield nvidia_driver()
    yield machine_toml()
    yield runs_folder(runs)
    yield devices()
    yield logout()
    yield shared_memory(Path("/dev/shm"))
    yield compile_folders()


def python() -> Finding:
    """Which Python is this? One that is too old would already have failed."""
    return Finding("python", "ok", f"{platform.python_version()} in {sys.executable}")


def packages() -> Finding:
    """Which versions of the packages that decide a result are installed?"""
    versions = {name: _version(name) for name in ("rbp-tui", "torch", "torchvision", "spikingjelly", "textual")}
    text = ", ".join(f"{name} {version}" for name, version in versions.items() if version)
    missing = [name for name in ("torch", "torchvision", "spikingjelly") if not versions[name]]
    if missing:
        return Finding(
            "packages", "problem", f"{text}; not installed: {', '.join(missing)}", f"pip install {' '.join(missing)}"
        )
    return Finding("packages", "ok", text if versions["rbp-tui"] else f"{text}; rbp itself runs from its source")


def torch() -> Finding:
    """Does torch load, and does it compute on the cards of this machine?"""
    command, ends = module_command("rbp_engine.train.device"), time.monotonic() + _LOAD_TIMEOUT_S
    settings: dict[str, Any] = {"what": "its import", "quiet": True, "cancelled": lambda: time.monotonic() > ends}
    try:
        return judge_torch(child.ask(command, CARD_ORDER | os.environ, **settings))
    except child.ChildError as error:
        text, remedy = f"does not load: {error}", "pip install --force-reinstall torch torchvision"
        if time.monotonic() > ends:
            text, remedy = f"has not loaded in {_LOAD_TIMEOUT_S:.0f} s", "put the environment on a local disk"
        return Finding("torch", "problem", text, remedy)


def judge_torch(report: dict[str, Any]) -> Finding:
    """The finding for a report of `rbp_engine.train.device`."""
    if report["networks"]:
        return Finding(
            "torch",
            "problem",
            f"the networks do not load: {report['networks']}",
            "pip install --upgrade torch torchvision spikingjelly, so that they fit together",
        )
    build = f"{report['torch']}, CUDA {report['cuda']}" if report["cuda"] else f"{report['torch']}, a CPU build"
    if report["why_not"]:
        return _unused_card(report, build)
    cards = report["devices"]
    if not cards:
        on = _count(report["threads"], "CPU thread")
        return Finding("torch", "ok", f"{build}; no NVIDIA card here: trains on {on}")
    text = f"{build}: {'; '.join(map(_card_text, cards))}"
    if all(not card["error"] for card in cards):
        return Finding("torch", "ok", text)
    working = next((f"cuda:{card['index']}" for card in cards if not card["error"]), "cpu")
    # run.device=auto uses the first card.
    return Finding("torch", "problem" if cards[0]["error"] else "note", text, f"run.device={working}")


def nvidia_driver() -> Finding:
    """What does the NVIDIA driver report, even if torch cannot use it?"""
    try:
        import pynvml
    except ImportError:
        return Finding("nvidia driver", "note", "nvidia-ml-py is not installed", "pip install nvidia-ml-py")
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        return Finding("nvidia driver", "ok", f"none ({error}); only a machine with an NVIDIA card needs it")
    try:
        version, cuda = pynvml.nvmlSystemGetDriverVersion(), pynvml.nvmlSystemGetCudaDriverVersion()
        count = pynvml.nvmlDeviceGetCount()
        text = f"{version}, for CUDA up to {cuda // 1000}.{cuda % 1000 // 10}, {_count(count, 'card')}"
        return Finding("nvidia driver", "ok", text)
    except pynvml.NVMLError as error:
        return Finding(
            "nvidia driver", "note", f"does not answer: {error}", "nvidia-smi; a reboot, if the driver was just updated"
        )
    finally:
        pynvml.nvmlShutdown()


def machine_toml() -> Finding:
    """Can the settings of this machine be read?"""
    path = machine_file()
    try:
        read_machine()
    except MachineError as error:
        return Finding("machine.toml", "problem", str(error), "fix or remove the file")
    there = os.path.exists(path)  # noqa: PTH110  # pathlib raises without permission
    place = str(path) if there else f"none, defaults apply (would be {path})"
    return Finding("machine.toml", "ok", f"{place}; it may set {', '.join(one.name for one in fields(Machine))}")


def runs_folder(explicit: Path | None = None) -> Finding:
    """Can runs be written, and is there space for them?"""
    try:
        folder = runs_directory(explicit)
    except MachineError:
        return Finding("runs", "note", "not known until machine.toml is fixed")
    # pathlib raises without permission.
    existing = next(path for path in (folder, *folder.parents) if os.path.exists(path))  # noqa: PTH110
    if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
        what = "cannot be written" if existing.is_dir() else "is not a folder"
        remedy = "choose another with --runs-dir, $RBP_RUNS or `runs` in machine.toml"
        return Finding("runs", "problem", f"{folder}: {existing} {what}", remedy)
    free = shutil.disk_usage(existing).free
    text = f"{folder}{'' if existing == folder else ' (made by the first run)'}, {free / _GIB:.1f} GiB free"
    if free < 5 * _GIB:
        return Finding("runs", "note", text, "rbp runs rm, or another runs directory: checkpoints need room")
    return Finding("runs", "ok", text)


def devices() -> Finding:
    """Which devices do queued runs share, and does a run wait in vain?"""
    try:
        pool = pool_of_this_machine("auto", "auto")
        waiting, served = entries(), dispatcher() is not None
    except UserError as error:
        return Finding("devices", "note", str(error))
    text = f"for rbp train --seeds: {', '.join(map(str, pool.devices))}, {_count(pool.threads, 'CPU thread')} with each"
    if waiting and not served:
        return Finding("devices", "note", f"{text}; {_count(len(waiting), 'run')} without a dispatcher", "rbp queue")
    return Finding("devices", "ok", text)


def logout() -> Finding:
    """Do runs survive a logout?"""
    if not Path("/run/systemd/system").exists():
        return Finding("logout", "ok", "systemd does not run here, so it ends no run at logout")
    if not kills_at_logout(_logind_files()):
        return Finding("logout", "ok", "runs go on when you log out")
    # Lingering is not enough: it keeps the user's services, not processes started from a login session.
    return Finding(
        "logout",
        "note",
        "KillUserProcesses=yes: systemd ends everything you started when you log out, setsid and tmux or not",
        "`loginctl enable-linger` once, then start with `systemd-run --user --scope rbp train …` "
        "(or `systemd-run --user --scope tmux`, and rbp inside)",
    )


def kills_at_logout(files: Iterable[Path]) -> bool:
    """Whether the configuration files of systemd-logind, of which the last one counts, set KillUserProcesses."""
    value = "no"
    for path in files:
        try:
            text = read_untrusted_text(path, errors="replace")
        except OSError:
            continue
        value = (re.findall(r"^[ \t]*KillUserProcesses[ \t]*=[ \t]*(\w+)", text, re.MULTILINE) or [value])[-1]
    return value.lower() in {"yes", "y", "true", "t", "on", "1"}


def shared_memory(folder: Path) -> Finding:
    """Is there space where processes of one run exchange batches and gradients?"""
    try:
        size = shutil.disk_usage(folder).total
    except OSError:
        return Finding("shared memory", "ok", f"no {folder} here")
    text = f"{size / _GIB:.1f} GiB in {folder}"
    if size < _GIB:
        remedy = "docker run --shm-size=8g, or --ipc=host, if this is a container"
        return Finding("shared memory", "note", f"{text}, little for runs of several processes", remedy)
    return Finding("shared memory", "ok", text)


def compile_folders() -> Finding:
    """Are the compiled kernels, which torch.compile will execute again, safe from changes by other users?"""
    folders = {name: Path(folder) for name, folder in compile_cache.variables().items()}
    faults = [problem for folder in folders.values() if (problem := compile_cache.problem(folder))]
    if faults:
        return Finding("compile cache", "problem", faults[0], f"or set {' and '.join(folders)} to folders of your own")
    return Finding("compile cache", "ok", ", ".join(map(str, folders.values())))


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""


def _unused_card(report: dict[str, Any], build: str) -> Finding:
    """The finding for a card that torch does not see; training then refuses to use the CPU silently."""
    anyway = "run.device=cpu, for the CPU all the same"
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES")
    if report["cuda"] and hidden is not None:
        text = f"{build}: CUDA_VISIBLE_DEVICES='{hidden}' hides the card"
        return Finding("torch", "problem", text, f"unset it, or {anyway}")
    if report["cuda"] and not Path("/dev/nvidiactl").exists() and not is_wsl_with_card():
        text = f"{build}: the machine has an NVIDIA card that this container may not use"
        return Finding("torch", "problem", text, f"docker run --gpus all, or {anyway}")
    return Finding("torch", "problem", report["why_not"], anyway)


def _card_text(card: dict[str, Any]) -> str:
    memory = "" if card["memory"] is None else f" ({card['memory'] / _GIB:.0f} GiB)"
    return f"{card['name']}{memory}{' cannot compute: ' + card['error'] if card['error'] else ''}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _logind_files() -> list[Path]:
    """The files in the order in which systemd reads them: the main file, then drop-ins by name."""
    bases = [Path("/usr/lib/systemd"), Path("/run/systemd"), Path("/etc/systemd")]
    drop_ins = [path for base in bases for path in base.glob("logind.conf.d/*.conf")]
    return [*(base / "logind.conf" for base in bases), *sorted(drop_ins, key=lambda path: path.name)]
