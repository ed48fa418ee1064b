"""Two processes over gloo compared with one that has the joined batch."""

import copy
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
import torch
from torch import Tensor, distributed, nn

from rbp_engine.data.loading.shares import Share
from rbp_engine.methods import METHODS, Distillation, SelfDistillation, WithBranches, create_method
from rbp_engine.models.resnet import ResNet
from rbp_engine.models.vgg import convnet
from rbp_engine.spiking import LIF
from rbp_engine.train.checkpoints.state import State
from rbp_engine.train.optimisation import add_branches
from rbp_engine.train.ranks.distributed import Ranks
from rbp_engine.train.step import OptimizerStep

T, CLASSES = 3, 3
NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "convnet": lambda: convnet(num_classes=CLASSES, in_channels=2, neuron=LIF),
    "resnet": lambda: ResNet([1, 1], [8, 16], 2, LIF, nn.Linear(16, CLASSES)),
    # For OTTT, which allows no batch norm between a neuron and its weights.
    "plain": lambda: nn.Sequential(
        nn.Conv2d(2, 8, 3, bias=False), nn.BatchNorm2d(8), LIF(), nn.Flatten(), nn.Linear(288, CLASSES)
    ),
}
Batch = tuple[Tensor, Tensor]


def batch(count: int, *, static: bool, seed: int = 0) -> Batch:
    draw = torch.Generator().manual_seed(seed)
    shape = (count, 2, 8, 8) if static else (T, count, 2, 8, 8)
    return 1.5 * torch.randn(shape, generator=draw), torch.randint(CLASSES, (count,), generator=draw)


def trained(network: nn.Module, method: str, batches: list[Batch], ranks: Ranks, **settings: Any) -> dict[str, Tensor]:
    """Gradients of the last step and running statistics, after steps on this rank's shares of the batches."""
    model = copy.deepcopy(network)
    if settings.pop("sync_bn", False):
        ranks.synchronise_batch_norm(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    distill, shapes = settings.pop("distill", None), settings.pop("branches", None)
    branches = None
    if shapes is not None:
        torch.manual_seed(3)
        branches = WithBranches(model, shapes, CLASSES, SelfDistillation())
        add_branches(optimizer, branches.branches)
    state = State(model, create_method(method, T, distill=distill), optimizer, branches=branches)
    step = OptimizerStep(state, ranks, **settings)
    for images, labels in batches:
        share = Share.part(len(labels), ranks.rank, ranks.size).places
        step(images[share] if images.ndim == 4 else images[:, share], labels[share], len(labels))
    named = list(state.trained.named_parameters())
    found = {name: parameter.grad.clone() for name, parameter in named if parameter.grad is not None}
    return found | {name: buffer.clone() for name, buffer in model.named_buffers()}


def check_equal(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        error = (found[name].double() - tensor.double()).norm() / tensor.double().norm()
        assert error <= 1e-5, (name, float(error))


@pytest.mark.parametrize("method", sorted(METHODS))
def test_with_sync_bn_the_gradients_equal_those_of_one_process_on_the_joined_batch(two_ranks, method):
    """Shares of 4 and 3 samples, two steps, for static images and for events."""
    names = ["plain", "plain"] if method == "ottt" else ["convnet", "resnet"]
    cases = []
    for name, static in zip(names, (True, False), strict=True):
        torch.manual_seed(2)
        cases.append((NETWORKS[name](), [batch(7, static=static, seed=seed) for seed in (0, 1)]))

    def work(ranks: Ranks) -> list[dict[str, Tensor]]:
        return [trained(network, method, batches, ranks, sync_bn=True) for network, batches in cases]

    for (network, batches), *found in zip(cases, *two_ranks(work), strict=True):
        expected = trained(network, method, batches, Ranks())
        for rank in found:
            check_equal(rank, expected)
        for name, buffer in network.named_buffers():
            assert torch.equal(found[0][name], found[1][name]), "running statistics are the same on both"
            assert name.endswith("tracked") or not torch.equal(buffer, found[0][name])


def test_with_micro_batches_and_clipping_the_gradients_equal_those_of_the_joined_batch(two_ranks):
    """Without batch norm, which treats each part separately. The last batch of 3 has fewer samples than parts."""
    torch.manual_seed(2)
    network = nn.Sequential(nn.Conv2d(2, 8, 3), LIF(), nn.Flatten(), nn.Linear(288, CLASSES))
    batches = [batch(11, static=False), batch(3, static=False)]

    def work(ranks: Ranks) -> list[dict[str, Tensor]]:
        return [
            trained(network, method, batches, ranks, accumulate=3, clip_norm=clip)
            for method in ("rate_m", "rate_s", "bptt", "sltt")
            for clip in (0.0, 0.01)
        ]

    both = two_ranks(work)
    for number, method in enumerate(("rate_m", "rate_s", "bptt", "sltt")):
        free = trained(network, method, batches, Ranks())
        norm = torch.stack([gradient.norm() for gradient in free.values()]).norm()
        assert norm > 0.02
        clipped = trained(network, method, batches, Ranks(), clip_norm=0.01)
        assert torch.stack([gradient.norm() for gradient in clipped.values()]).norm() == pytest.approx(0.01, rel=1e-3)
        for found in (*both, work(Ranks())):
            check_equal(found[2 * number], free)
            check_equal(found[2 * number + 1], clipped)


def test_the_output_of_micro_batches_is_that_of_the_share():
    torch.manual_seed(2)
    network = nn.Sequential(nn.Flatten(), nn.Linear(128, CLASSES))
    images, labels = batch(7, static=True)
    state = State(copy.deepcopy(network), create_method("bptt", T), torch.optim.SGD(network.parameters()))
    step = OptimizerStep(state, Ranks(), accumulate=3)
    output = step(images, labels, 7)
    torch.testing.assert_close(output.logits, network(images).detach())
    torch.testing.assert_close(output.loss, nn.functional.cross_entropy(network(images), labels).detach())


def test_ranks_wait_longer_than_torchs_default_for_one_that_saves_or_compiles(two_ranks):
    def work(ranks: Ranks) -> list[timedelta]:
        groups = [distributed.group.WORLD, ranks._cpu_group]
        return [group._get_backend(torch.device("cpu")).options._timeout for group in groups]

    assert two_ranks(work) == [[timedelta(hours=2)] * 2] * 2


def test_ranks_exchange_values_at_once_or_at_the_next_boundary(two_ranks):
    def work(ranks: Ranks) -> Any:
        mine = ranks.rank + 1
        heard = [ranks.agree(mine * step, 5 - mine) for step in (1, 10, 100)]
        model = nn.BatchNorm1d(2)
        nn.init.constant_(model.running_mean, mine)
        ranks.share_buffers(model)
        return {
            "agree": heard,
            "largest": ranks.largest(mine, -mine),
            "gather": ranks.gather([mine, 0.5]).tolist(),
            "collect": ranks.collect({"rank": mine}),
            "from first": ranks.from_first(lambda: f"made by {mine}"),
            "buffers": model.running_mean.tolist(),
        }

    first, second = two_ranks(work)
    expected = {
        "agree": [[0, 0], [2, 4], [20, 4]],
        "largest": [2, -1],
        "gather": [[1.0, 0.5], [2.0, 0.5]],
        "collect": [{"rank": 1}, {"rank": 2}],
        "from first": "made by 1",
        "buffers": [1.0, 1.0],
    }
    assert first == second == expected
    alone = work(Ranks())
    assert alone["agree"] == [[1, 4], [10, 4], [100, 4]] and alone["gather"] == [[1.0, 0.5]]


def test_gradients_with_branches_are_those_of_the_joined_batch(two_ranks):
    """In micro-batches, all of the same samples, so that the batch norms of branches have one result everywhere."""
    torch.manual_seed(2)
    network = nn.Sequential(nn.Conv2d(2, 8, 3), LIF(), nn.Flatten(), nn.Linear(288, CLASSES))
    batches = []
    for seed in (0, 1):
        images, labels = batch(3, static=True, seed=seed)
        batches.append((images.repeat(6, 1, 1, 1), labels.repeat(6)))
    how = {"branches": {"1": (8, 6, 6)}, "clip_norm": 0.01}

    def work(ranks: Ranks) -> dict[str, Tensor]:
        return trained(network, "rate_s", batches, ranks, accumulate=3, **how)

    expected = trained(network, "rate_s", batches, Ranks(), **how)
    assert expected["branches.0.classes.weight"].abs().max() > 0
    for rank in two_ranks(work):
        check_equal(rank, expected)


def test_a_teacher_looks_at_the_share_of_each_rank(two_ranks):
    torch.manual_seed(0)
    outside = torch.randn(128, CLASSES)
    distill = Distillation(lambda images: images.flatten(1) @ outside, weight=0.8)
    network, joined = NETWORKS["convnet"](), [batch(8, static=True, seed=3)]
    expected = trained(network, "rate_m", joined, Ranks(), distill=distill)
    plain = trained(network, "rate_m", joined, Ranks())
    assert not torch.allclose(plain["0.weight"], expected["0.weight"], rtol=1e-2)
    for found in two_ranks(lambda ranks: trained(network, "rate_m", joined, ranks, distill=distill, sync_bn=True)):
        check_equal(found, expected)
