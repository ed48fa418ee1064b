"""A fake GPU: fake tensors on it, and an account of what a real one would have to do.

Shapes are computed, values are not. It does not cover cuDNN, NCCL, streams, pinned memory or speed. The library built
from `fake_device.cpp` has to be loaded before torch.
"""

import contextlib
import traceback
from pathlib import Path

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

CARD = torch.device("cuda", 0)
ENGINE = Path(__file__).parents[2] / "rbp_engine"

# Operations for which the host waits, because it needs their result or its shape.
WAITS = {
    "_local_scalar_dense", "_unique2", "equal", "is_nonzero", "masked_select", "nonzero", "nonzero_numpy",
    "repeat_interleave", "unique_consecutive", "unique_dim",
}  # fmt: skip
# Operations that launch nothing although their schema does not mark them as views.
FREE = {
    "_reshape_alias", "_to_copy", "_unsafe_view", "device", "empty", "empty_like", "empty_permuted", "empty_strided",
    "is_pinned", "lift_fresh", "new_empty", "new_empty_strided", "record_stream", "set_",
}  # fmt: skip


class Account(TorchDispatchMode):
    """Counts launches, and records each operation that makes the host wait, with the calling line of the engine."""

    def __init__(self):
        super().__init__()
        self.launches = 0
        self.waits = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        name = func.overloadpacket.__name__
        operands = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        if self._waits(name, args, kwargs, operands):
            self.waits.append(f"{name} in {_caller()}")
        kernel = _WITHOUT_FAKE.get(name, func)
        out = kernel(*args, **kwargs)
        made = [leaf for leaf in tree_leaves(out) if isinstance(leaf, Tensor)]
        on_card = any(tensor.is_cuda for tensor in (*operands, *made))
        if on_card and not func.is_view and (name not in FREE or (name == "_to_copy" and made[0] is not operands[0])):
            self.launches += 1
        return out

    @staticmethod
    def _waits(name, args, kwargs, operands):
        if not any(tensor.is_cuda for tensor in operands) and not _goes_to_card(kwargs):
            return False
        if name in WAITS:
            return True
        if name == "copy_":
            blocks = not (args[2] if len(args) > 2 else kwargs.get("non_blocking", False))
            return blocks and args[0].device.type != args[1].device.type
        if name == "_to_copy":
            target = torch.device(kwargs.get("device") or args[0].device)
            return target.type != args[0].device.type and not kwargs.get("non_blocking", False)
        if name.startswith(("index", "_index", "_unsafe_index")) and isinstance(args[1], (list, tuple)):
            indices = [index for index in args[1] if isinstance(index, Tensor)]
            return any(index.dtype in (torch.bool, torch.uint8) or not index.is_cuda for index in indices)
        return False


def _goes_to_card(kwargs):
    return kwargs.get("device") is not None and torch.device(kwargs["device"]).type == "cuda"


def _fused_sgd(*args, **kwargs):
    pass


def _batch_norm_update_stats(values, *args):
    channels = values.shape[1]
    return torch.empty(channels, device=CARD), torch.empty(channels, device=CARD)


# Kernels without a fake implementation.
_WITHOUT_FAKE = {
    "_fused_sgd_": _fused_sgd,
    "batch_norm_update_stats": _batch_norm_update_stats,
}


def _caller():
    """The innermost line of the engine on the stack of this operation."""
    stack = traceback.extract_stack()
    ours = [frame for frame in stack if Path(frame.filename).is_relative_to(ENGINE)]
    frame = ours[-1] if ours else stack[0]
    return f"{Path(frame.filename).name}:{frame.lineno} {frame.line}"


@contextlib.contextmanager
def accounted():
    """Within this context tensors are fake, and every operation on those on the GPU is counted."""
    account = Account()
    new_tensor = Tensor.new_tensor

    def noted(tensor, *args, **kwargs):
        # Dispatch modes do not see autograd's thread. The values come from the host's memory, so the host waits.
        account.waits.append(f"new_tensor in {_caller()}")
        return torch.empty_like(tensor.new_empty((len(args[0]),)), **kwargs)

    with FakeTensorMode(), account:
        Tensor.new_tensor = noted
        try:
            yield account
        finally:
            Tensor.new_tensor = new_tensor


def put_on_card(model):
    """Replace parameters and buffers by fake ones of the same shapes and layouts; call it within `accounted`."""
    for module in model.modules():
        for name, parameter in module._parameters.items():
            if parameter is not None:
                module._parameters[name] = nn.Parameter(_on_card(parameter), parameter.requires_grad)
        for name, buffer in module._buffers.items():
            if buffer is not None:
                module._buffers[name] = _on_card(buffer)


def _on_card(tensor):
    return torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device=CARD)
