"""Why a CPU run takes more memory than its tensors: whether the C library reuses the space of a freed tensor.

torch asks for memory aligned to 64 bytes. glibc serves that from a block with room to spare, so a hole between two
tensors in use is too small, by those bytes, for a new tensor of the same size.
"""

import ctypes

import torch

MIB = 2**20
SIZE, COUNT = 8 * MIB, 20
FIELDS = (
    "arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks", "fordblks", "keepcost",
)  # fmt: skip


class Heap(ctypes.Structure):
    """glibc's `mallinfo2`."""

    _fields_ = [(name, ctypes.c_size_t) for name in FIELDS]


def in_use_and_free() -> tuple[float, float]:
    """MiB of the heap in use, and MiB free between the blocks in use."""
    library = ctypes.CDLL(None)
    library.mallinfo2.restype = Heap
    heap = library.mallinfo2()
    return heap.uordblks / MIB, heap.fordblks / MIB


def main() -> None:
    # Blocks of this size come from the heap once a larger one has been freed.
    torch.empty(24 * MIB, dtype=torch.uint8)
    tensors: list[torch.Tensor | None] = [torch.empty(SIZE, dtype=torch.uint8) for _ in range(COUNT)]
    tensors[::2] = [None] * len(tensors[::2])
    print("every other of {} tensors freed: {:.0f} MiB in use, {:.0f} MiB free".format(COUNT, *in_use_and_free()))
    again = [torch.empty(SIZE, dtype=torch.uint8) for _ in tensors[::2]]
    print("{} of that size made again:      {:.0f} MiB in use, {:.0f} MiB free".format(len(again), *in_use_and_free()))


if __name__ == "__main__":
    main()
