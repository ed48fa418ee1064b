"""Record training steps as CUDA graphs. No card has run this yet: tests/gpu does."""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import torch
from torch import Tensor

from rbp_engine import private_apis
from rbp_engine.methods import StepOutput
from rbp_engine.train.graph.step_graph import Replay
from rbp_engine.train.step import OptimizerStep

# Before a capture torch asks for three steps, and with DistributedDataParallel for eleven: in the first ten that
# measures itself, which waits for the card.
WARM_UP, WARM_UP_OF_SEVERAL = 3, 11


class CudaGraphs:
    """Records steps on a card. All that the process computes must be on one stream that is not the default one.

    `several`: whether the step exchanges gradients with other processes.
    """

    def __init__(self, device: torch.device, *, several: bool = False) -> None:
        private_apis.require(private_apis.CAPTURING)
        self.device = device
        self.warm_up = WARM_UP_OF_SEVERAL if several else WARM_UP
        self._failed: list[torch.cuda.CUDAGraph] = []

    def rehearse(self, take: Callable[[], StepOutput]) -> tuple[StepOutput, str]:
        """A step that waits for the card, and one for which there is no room, cannot be recorded."""
        with _noted_waits() as waits:
            out = take()
        return out, f"it waits for the card, in {waits[0]}" if waits else self._lack_of_room()

    def _lack_of_room(self) -> str:
        """A graph keeps its memory, and steps of other shapes or with probes need theirs beside it."""
        held = torch.cuda.memory_allocated(self.device)
        of_step = torch.cuda.max_memory_allocated(self.device) - held
        free = torch.cuda.mem_get_info(self.device)[0] + torch.cuda.memory_reserved(self.device) - held
        if free >= 2 * of_step:
            return ""
        return (
            f"a graph keeps the memory of a step, {of_step / 2**30:.1f} GiB, beside that of steps without it, and of "
            f"the {2 * of_step / 2**30:.1f} GiB for both {free / 2**30:.1f} are free"
        )

    def record(self, step: OptimizerStep, images: Tensor, labels: Tensor, total: int) -> Replay:
        """Raises what torch raises if the step does something that a graph cannot hold."""
        # The device's default generator, from which dropout draws, is registered with each graph by torch: a replay
        # draws what the step would, and moves the generator as far.
        generator = torch.cuda.default_generators[self.device.index]
        numbers = generator.clone_state()
        graph, pool = torch.cuda.CUDAGraph(), torch.cuda.graph_pool_handle()
        still_images, still_labels = images.clone(), labels.clone()
        stream = torch.cuda.current_stream(self.device)
        try:
            # Other threads may pin memory meanwhile, or watch over NCCL.
            with torch.cuda.graph(graph, pool=pool, stream=stream, capture_error_mode="thread_local"):
                out = step(still_images, still_labels, total)
        except BaseException:
            self._clear_up(graph, pool)
            generator.graphsafe_set_state(numbers)
            raise
        # A step without the graph drops these gradients, whose memory remains the graph's.
        gradients = [(parameter, parameter.grad) for parameter in step.trained.parameters()]

        def replay(images: Tensor, labels: Tensor) -> StepOutput:
            still_images.copy_(images)
            still_labels.copy_(labels)
            graph.replay()
            if gradients[0][0].grad is not gradients[0][1]:
                for parameter, gradient in gradients:
                    parameter.grad = gradient
            return StepOutput(out.loss.clone(), out.logits.clone())

        return replay

    def _clear_up(self, graph: torch.cuda.CUDAGraph, pool: tuple[int, int]) -> None:
        """After a failed capture torch's allocator still asks the graph for which stream it allocates."""
        try:
            torch._C._cuda_endAllocateToPool(self.device.index, pool)
        except RuntimeError:  # the capture itself has ended, and only what was captured has failed
            graph.reset()
        else:
            with suppress(RuntimeError):
                torch._C._cuda_releasePool(self.device.index, pool)
        self._failed.append(graph)


@contextmanager
def _noted_waits() -> Iterator[list[str]]:
    """Within it torch warns of each wait for the card; they are listed by line of code when it is left."""
    waits: list[str] = []
    before = torch.cuda.get_sync_debug_mode()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            yield waits
        finally:
            torch.cuda.set_sync_debug_mode(before)
    for warning in caught:
        if "synchronizing CUDA operation" in str(warning.message):
            waits.append(f"{Path(warning.filename).name}:{warning.lineno}")
        elif "Synchronization debug mode" not in str(warning.message):
            warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)
