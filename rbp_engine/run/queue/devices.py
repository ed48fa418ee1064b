"""The devices that runs are distributed over: cards, as the driver reports them, else slots of the CPU."""

import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rbp_engine.cores import cores_here
from rbp_engine.run.errors import RunError
from rbp_engine.settings.machine import read_machine

MIB = 2**20
# A display server or the MPS daemon may use some memory of a card that is still free. Processes in other containers are
# not listed and only show as used memory.
IDLE_PROCESS_BYTES = 100 * MIB
IDLE_CARD_BYTES = 1024 * MIB


@dataclass(frozen=True)
class Card:
    """One card: `index` in PCI order from 0, as in nvidia-smi; `used` memory in bytes; `processes` holds the memory of
    each process that computes on it, None if the driver does not report how much."""

    index: int
    uuid: str
    used: int = 0
    processes: tuple[int | None, ...] = ()

    @property
    def is_free(self) -> bool:
        """Whether no process computes on it."""
        little = all(memory is not None and memory <= IDLE_PROCESS_BYTES for memory in self.processes)
        return little and self.used <= IDLE_CARD_BYTES


def has_card(root: Path = Path("/")) -> bool:
    """Whether this machine, with its file system at `root`, has an NVIDIA card, even if NVML and torch cannot use it.

    Linux itself lists its cards. Under WSL2 the driver is that of Windows, recognised by its libraries.
    """
    return any((root / "proc/driver/nvidia/gpus").glob("*")) or is_wsl_with_card(root)


def is_wsl_with_card(root: Path = Path("/")) -> bool:
    """Whether this is Linux under Windows (WSL2), on a machine with an NVIDIA card."""
    return (root / "dev/dxg").exists() and (root / "usr/lib/wsl/lib/libcuda.so.1").exists()


def read_cards() -> list[Card]:
    """The cards of this host; none if there is no driver. Raises RunError if there is a driver that does not answer:
    training on the CPU would then be a mistake."""
    import pynvml

    try:
        pynvml.nvmlInit()
        try:
            handles = [pynvml.nvmlDeviceGetHandleByIndex(index) for index in range(pynvml.nvmlDeviceGetCount())]
            handles.sort(key=_pci_address)
            return [_read(index, handle) for index, handle in enumerate(handles)]
        finally:
            pynvml.nvmlShutdown()
    except pynvml.NVMLError as error:
        no_driver = isinstance(error, (pynvml.NVMLError_LibraryNotFound, pynvml.NVMLError_DriverNotLoaded))
        if no_driver and not has_card():
            return []
        raise RunError(
            f"there is an NVIDIA card, but its driver does not say what runs on it ({error}): rbp doctor looks "
            "further; --gpus none trains on the CPU"
        ) from error


def _read(index: int, handle: Any) -> Card:
    import pynvml

    try:
        # Version 2 does not count the memory that the driver reserves for itself.
        memory = pynvml.nvmlDeviceGetMemoryInfo(handle, version=pynvml.nvmlMemory_v2)
    except pynvml.NVMLError:
        memory = pynvml.nvmlDeviceGetMemoryInfo(handle)
    computing = pynvml.nvmlDeviceGetComputeRunningProcesses(handle)
    uuid = pynvml.nvmlDeviceGetUUID(handle)
    return Card(index, uuid, int(memory.used), tuple(process.usedGpuMemory for process in computing))


def _pci_address(handle: Any) -> tuple[int, int, int]:
    import pynvml

    pci = pynvml.nvmlDeviceGetPciInfo(handle)
    return int(pci.domain), int(pci.bus), int(pci.device)


@dataclass(frozen=True)
class Device:
    """`key` tells it from all others; `name` is its name in CUDA_VISIBLE_DEVICES, None for a slot of the CPU."""

    key: str
    name: int | str | None = None

    def __str__(self) -> str:
        return self.key.replace("-", " ") if self.name is None else f"card {self.name}"


@dataclass(frozen=True)
class Pool:
    """Devices that a run may get, and the number of CPU threads that go with each; or the `trouble` with them."""

    devices: tuple[Device, ...] = ()
    threads: int = 0
    trouble: str = ""


def pool_of_this_machine(gpus: str | None, device: str, takes: int = 1) -> Pool:
    """The pool for `--gpus` and `run.device`, with the CUDA_VISIBLE_DEVICES of this process. Raises as `pool_here`."""
    return pool_here(gpus, device, takes, os.environ.get("CUDA_VISIBLE_DEVICES"), read_cards)


def pool_here(
    gpus: str | None, device: str, takes: int, visible: str | None, read: Callable[[], Sequence[Card]]
) -> Pool:
    """The pool for `--gpus`, `run.device` and CUDA_VISIBLE_DEVICES; `read` returns the cards.

    Raises RunError, also if there are too few devices for a run that `takes` so many, and MachineError.
    """
    cores, gpus = cores_here(), gpus or "auto"
    cards = [] if gpus == "none" or device == "cpu" else read()
    pool = choose_pool(gpus, device, cards, visible, cpu_slots(cores), cores)
    if takes > len(pool.devices):
        listed = ", ".join(map(str, pool.devices))
        raise RunError(f"a run of {takes} processes takes as many devices, and there is only: {listed}")
    return pool


def cpu_slots(cores: int) -> int:
    """How many runs share the CPU at a time: `cpu_slots` of machine.toml, else one per two cores."""
    return read_machine().cpu_slots or max(1, cores // 2)


def choose_pool(gpus: str, device: str, cards: Sequence[Card], visible: str | None, slots: int, cores: int) -> Pool:
    """The pool that `gpus` ("auto", "none", or nvidia-smi's indices) selects for a run with `run.device` = `device`.

    Raises RunError if that leaves no device, or if the two contradict each other.
    """
    indices = None if gpus in ("auto", "none") else card_indices(gpus)
    if gpus == "none" or device == "cpu":
        if indices is not None:
            raise RunError(f"--gpus {gpus} asks for cards, and run.device=cpu for none: leave one of them out")
        if device.startswith("cuda"):
            raise RunError(f"run.device={device} asks for a card, and --gpus none for none: leave one of them out")
        return _cpu_pool(slots, cores)
    if device not in ("auto", "cuda", "cuda:0"):
        raise RunError(f"run.device={device} names a card; leave it out, for each run is given one")
    seen = visible_devices(cards, visible)
    if not seen and not cards and indices is None and device == "auto":
        return _cpu_pool(slots, cores)
    if not seen:
        why = f"CUDA_VISIBLE_DEVICES={visible!r} hides every card" if cards else "there is no NVIDIA card here"
        raise RunError(f"{why}; --gpus none trains on the CPU")
    threads = max(1, cores // len(seen))
    if indices is None:
        return Pool(tuple(seen), threads)
    by_name = {card.name: card for card in seen}
    if missing := [index for index in indices if index not in by_name]:
        raise RunError(f"--gpus {gpus}: there is no card {missing[0]}; there is {', '.join(map(str, by_name))}")
    return Pool(tuple(by_name[index] for index in indices), threads)


def card_indices(gpus: str) -> list[int]:
    """The cards that a list like `0,1` names. Raises RunError."""
    words = [word.strip() for word in gpus.split(",")]
    if not all(re.fullmatch(r"[0-9]{1,4}", word) for word in words) or len(set(words)) < len(words):
        raise RunError(f"--gpus {gpus}: expected auto, none, or cards as nvidia-smi counts them, like 0,1")
    return [int(word) for word in words]


def visible_devices(cards: Sequence[Card], visible: str | None) -> list[Device]:
    """The devices, in order and each once, that a process with this CUDA_VISIBLE_DEVICES (None: not set) sees.

    Slices of a card (MIG) are not checked, since `cards` does not list them.
    """
    if visible is None:
        return [_device(card) for card in cards]
    found: list[Device] = []
    for name in map(str.strip, visible.split(",")):
        matching = [card for card in cards if name == str(card.index) or (name and card.uuid.startswith(name))]
        if name.startswith("MIG-"):
            found.append(Device(name.replace("/", "_"), name))
        elif len(matching) == 1:
            found.append(_device(matching[0]))
        else:
            break  # CUDA, too, ignores the list from the first missing card on
    return list(dict.fromkeys(found))


def _device(card: Card) -> Device:
    return Device(card.uuid, card.index)


def _cpu_pool(slots: int, cores: int) -> Pool:
    return Pool(tuple(Device(f"cpu-{number}") for number in range(slots)), max(1, cores // slots))
