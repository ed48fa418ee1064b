"""The NVIDIA cards of this host and what is going on on them, as the driver tells it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rbp_engine.run.errors import RunError

MIB = 2**20
# A display server or the daemon of MPS may sit on a card that is free all the same. What computes in another container
# is not listed among the processes, and only shows as memory.
LITTLE_OF_A_PROCESS = 100 * MIB
LITTLE_OF_A_CARD = 1024 * MIB


@dataclass(frozen=True)
class Card:
    """One card: `index` counts in PCI order from 0, as nvidia-smi does; `used` is memory in bytes; `processes` holds
    the memory of each process that computes on it, None where the driver does not say how much."""

    index: int
    uuid: str
    used: int = 0
    processes: tuple[int | None, ...] = ()

    @property
    def is_free(self) -> bool:
        """Whether nobody computes on it."""
        little = all(memory is not None and memory <= LITTLE_OF_A_PROCESS for memory in self.processes)
        return little and self.used <= LITTLE_OF_A_CARD


def has_card(root: Path = Path("/")) -> bool:
    """Whether this machine, whose file system begins at `root`, has an NVIDIA card, whatever NVML and torch make of it.

    Linux itself lists its cards. Under WSL2 the driver is that of Windows, which puts its libraries there.
    """
    return any((root / "proc/driver/nvidia/gpus").glob("*")) or is_wsl_with_card(root)


def is_wsl_with_card(root: Path = Path("/")) -> bool:
    """Whether this is Linux under Windows (WSL2) on a machine with an NVIDIA card."""
    return (root / "dev/dxg").exists() and (root / "usr/lib/wsl/lib/libcuda.so.1").exists()


def read_cards() -> list[Card]:
    """The cards of this host; none where there is no driver. Raises RunError where there is one that does not answer:
    to train on the CPU then would be a mistake."""
    import pynvml

    try:
        pynvml.nvmlInit()
    except (pynvml.NVMLError_LibraryNotFound, pynvml.NVMLError_DriverNotLoaded) as error:
        if has_card():
            raise RunError(_no_answer(error)) from error
        return []
    except pynvml.NVMLError as error:
        raise RunError(_no_answer(error)) from error
    try:
        handles = [pynvml.nvmlDeviceGetHandleByIndex(index) for index in range(pynvml.nvmlDeviceGetCount())]
        handles.sort(key=_pci_address)
        return [_read(index, handle) for index, handle in enumerate(handles)]
    except pynvml.NVMLError as error:
        raise RunError(_no_answer(error)) from error
    finally:
        pynvml.nvmlShutdown()


def _read(index: int, handle: Any) -> Card:
    import pynvml

    try:
        # The second version does not count what the driver keeps for itself.
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


def _no_answer(error: Exception) -> str:
    return (
        f"there is an NVIDIA card, but its driver does not say what runs on it ({error}): rbp doctor looks further; "
        "--gpus none trains on the CPU"
    )
