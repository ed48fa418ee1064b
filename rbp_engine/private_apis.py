"""Every private name of torch that we use. Any release may remove one; `require` then says so clearly.

Of SpikingJelly we use only public names.
"""

import pkgutil
from collections.abc import Iterable
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class PrivateName:
    """`name` is in the format of `pkgutil.resolve_name`; `used_in` is our file, relative to rbp_engine/."""

    name: str
    used_in: str
    reason: str


TRAINING = (
    PrivateName("torch._C:_is_fwd_grad_enabled", "spiking/carrier.py", "tells reentrant checkpointing, to refuse it"),
    PrivateName("torch._C:_current_graph_task_id", "spiking/carrier.py", "tells that checkpointing computes again"),
    PrivateName(
        "torch._C:_FunctionBase._set_sequence_nr",
        "spiking/linear.py",
        "puts gradients of large weights at the end of the backward pass",
    ),
    PrivateName("torch:_foreach_norm", "train/finite.py", "looks at all gradients with few launches"),
    PrivateName("torch.nn.modules.batchnorm:_NormBase", "train/optimisation.py", "finds norms of every dimension"),
    PrivateName("torch:_foreach_copy_", "train/moving_average.py", "puts all weights in place with few launches"),
    PrivateName("torch:_foreach_sub", "train/moving_average.py", "averages all weights with few launches"),
    PrivateName("torch:_foreach_mul_", "train/moving_average.py", "averages all weights with few launches"),
    PrivateName("torch:_foreach_add_", "train/moving_average.py", "averages all weights with few launches"),
    PrivateName("torch:_foreach_add", "methods/rate.py", "copies the counters of all norms with one launch"),
    PrivateName("torch:_foreach_sub_", "probes/health.py", "subtracts all weights with few launches"),
    PrivateName("torch._compile:_disable_dynamo", "methods/protocol.py", "leaves a step out of a compiled function"),
    PrivateName("torch.nn.modules.batchnorm:_BatchNorm", "methods/rate.py", "finds all batch norms"),
)
COMPILING = (
    PrivateName("torch._dynamo.config:recompile_limit", "spiking/layers/compiler.py", "allows a kernel for each sum"),
    PrivateName(
        "torch._dynamo.config:specialize_float", "spiking/layers/compiler.py", "keeps constants as in eager kernels"
    ),
    PrivateName(
        "torch.fx.experimental._config:use_duck_shape",
        "spiking/layers/compiler.py",
        "makes no new kernel where two sizes are equal by chance",
    ),
    PrivateName(
        "torch._inductor.codecache:_HEADER_DIR",
        "spiking/layers/compiler.py",
        "keeps precompiled headers out of the shared temporary folder",
    ),
    PrivateName("torch._dynamo.exc:BackendCompilerFailed", "spiking/layers/compiler.py", "tells a full disk"),
)
MEASURING = (
    PrivateName("torch.utils._python_dispatch:TorchDispatchMode", "bench/measure/floor.py", "sees a step's operations"),
    PrivateName("torch.utils._pytree:tree_map_only", "bench/measure/floor.py", "finds the tensors of an operation"),
)


def require(names: Iterable[PrivateName]) -> None:
    """Raise ImportError with all names that the installed torch does not have."""
    gone = [f"{name.name.replace(':', '.')} ({name.reason})" for name in names if not _is_there(name)]
    if gone:
        raise ImportError(
            f"torch {torch.__version__} lacks {', '.join(gone)}, which rbp uses: install an older torch, or a newer rbp"
        )


def _is_there(name: PrivateName) -> bool:
    try:
        pkgutil.resolve_name(name.name)
    except (ImportError, AttributeError):
        return False
    return True
