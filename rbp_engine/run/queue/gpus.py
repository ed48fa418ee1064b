"""The NVIDIA cards of this host and their load, as the driver reports it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rbp_engine.run.errors import RunError

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


def _no_answer(error: Exception) -> str:
    return (
        f"there is an NVIDIA card, but its driver does not say what runs on it ({error}): rbp doctor looks further; "
        "--gpus none trains on the CPU"
    )
