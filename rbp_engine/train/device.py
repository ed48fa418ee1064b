"""Which device a run trains on; `python -m rbp_engine.train.device` describes them all, for `rbp doctor`."""

import importlib
import json
import os
import sys
from typing import Any

import torch

from rbp_engine.errors import SettingsError
from rbp_engine.run.queue.devices import has_card
from rbp_engine.vocabulary import DEVICE


class DeviceError(SettingsError):
    """The requested device cannot be used; the message says why, and how to fix it."""


def choose_device(wanted: str, local_rank: int | None = None) -> torch.device:
    """The device for `auto`, `cpu`, `cuda` or `cuda:N`; of several processes on a host, that of process `local_rank`.

    `auto` selects the CPU only if there is no NVIDIA card: if torch cannot use one, an error is better than training
    for days on the CPU by mistake. Raises DeviceError.
    """
    if DEVICE.fullmatch(wanted) is None:
        raise DeviceError(f"a device is 'auto', 'cpu', 'cuda' or 'cuda:N', got {wanted!r}")
    if wanted == "cpu":
        return torch.device("cpu")
    if torch.cuda.is_available():
        device = torch.device("cuda" if wanted == "auto" else wanted)
        card = _card_of(device) if local_rank is None else _card_of_process(local_rank, device)
        torch.cuda.set_device(card)  # for tensors that are created without naming a card
        return card
    if wanted == "auto" and not has_card():
        return torch.device("cpu")
    raise DeviceError(f"{_unusable_reason()}. rbp doctor looks further; run.device=cpu trains on the CPU all the same")


def tune_convolutions(device: torch.device) -> None:
    """On a card, time cuDNN's algorithms once for each shape of a convolution, and keep to the fastest.

    Not if the user's own code has asked torch for deterministic algorithms: the fastest depends on timing.
    """
    deterministic = torch.backends.cudnn.deterministic or torch.are_deterministic_algorithms_enabled()
    torch.backends.cudnn.benchmark = device.type == "cuda" and not deterministic


def _card_of(wanted: torch.device) -> torch.device:
    index = wanted.index or 0
    if index >= torch.cuda.device_count():
        raise DeviceError(f"{wanted}: this process sees {torch.cuda.device_count()} GPUs, counted from cuda:0")
    return torch.device("cuda", index)


def _card_of_process(local_rank: int, wanted: torch.device) -> torch.device:
    if wanted.index is not None:
        raise DeviceError(f"{wanted} is one card, and each of several processes needs its own: use run.device=auto")
    if local_rank >= torch.cuda.device_count():
        raise DeviceError(
            f"process {local_rank + 1} of this host has no GPU of its own, there are {torch.cuda.device_count()}: "
            "use a smaller --nproc"
        )
    return torch.device("cuda", local_rank)


def describe_device(device: torch.device) -> str:
    """`cpu`, or the card's name and index."""
    if device.type != "cuda":
        return device.type
    return f"{torch.cuda.get_device_name(device)} ({device})"


def _unusable_reason() -> str:
    if torch.version.cuda is None:
        return (
            f"this torch ({torch.__version__}) is a CPU build, and a GPU is wanted: install a CUDA build "
            "(make demo TORCH=cu126, or pip install torch --index-url https://download.pytorch.org/whl/cu126)"
        )
    if not has_card():
        return "there is no NVIDIA card on this machine"
    if os.environ.get("CUDA_VISIBLE_DEVICES") == "":
        return "CUDA_VISIBLE_DEVICES is empty and hides every card"
    return f"torch ({torch.__version__}, CUDA {torch.version.cuda}) cannot use the NVIDIA card: is the driver too old?"


def main() -> None:
    """Print what torch finds on this machine, as one line of JSON.

    `why_not` is the reason why a card of this machine is not used, `networks` the error of importing SpikingJelly and
    the networks; "" for none.
    """
    usable = torch.cuda.is_available()
    report = {
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "threads": torch.get_num_threads(),
        "has_card": has_card(),
        "devices": [_try_card(index) for index in range(torch.cuda.device_count())] if usable else [],
        "why_not": _unusable_reason() if has_card() and not usable else "",
        "networks": _loading_error("rbp_engine.models"),
    }
    sys.stdout.write(json.dumps(report) + "\n")


def _try_card(index: int) -> dict[str, Any]:
    """Compute something: a card that torch lists may be too old for its kernels, or in exclusive use."""
    card: dict[str, Any] = {"index": index, "name": f"cuda:{index}", "memory": None, "error": ""}
    try:
        properties = torch.cuda.get_device_properties(index)
        card |= {"name": properties.name, "memory": properties.total_memory}
        torch.ones(2, device=f"cuda:{index}").sum().item()
    except RuntimeError as error:
        card["error"] = str(error).partition("\n")[0]
    return card


def _loading_error(module: str) -> str:
    try:
        importlib.import_module(module)
    except Exception as error:
        return f"{type(error).__name__}: {error}".partition("\n")[0]
    return ""


if __name__ == "__main__":
    main()
