"""A step through DistributedDataParallel, in one process."""

import copy

import pytest
import torch
from torch import distributed
from torch.nn.parallel import DistributedDataParallel

from rbp_engine.methods import METHODS, create_method
from rbp_engine.models.vgg import convnet
from rbp_engine.spiking import LIF

T, B = 2, 4
LABELS = torch.tensor([0, 1, 2, 0])


@pytest.fixture(scope="module")
def one_process(tmp_path_factory):
    store = tmp_path_factory.mktemp("gloo") / "store"
    distributed.init_process_group("gloo", init_method=f"file://{store}", rank=0, world_size=1)
    yield
    distributed.destroy_process_group()


@pytest.mark.parametrize("name", sorted(METHODS))
@pytest.mark.usefixtures("one_process")
def test_two_steps_through_ddp_give_the_gradients_and_statistics_of_the_bare_model(name):
    """Two steps, because DDP notices only in the second forward that the first backward missed a parameter.

    As in a run, DDP broadcasts no buffers: older versions of torch take that, before each of bptt_s's passes, for a
    change of what the backward pass needs.
    """
    torch.manual_seed(0)
    bare = convnet(num_classes=3, in_channels=2, neuron=LIF)
    wrapped = DistributedDataParallel(copy.deepcopy(bare), broadcast_buffers=False)
    method = create_method(name, T)
    for seed in (0, 1):
        images = torch.randn(T, B, 2, 8, 8, generator=torch.Generator().manual_seed(seed))
        expected, output = method.step(bare, images, LABELS), method.step(wrapped, images, LABELS)
        torch.testing.assert_close(output.logits, expected.logits)
    for (parameter_name, own), theirs in zip(bare.named_parameters(), wrapped.parameters(), strict=True):
        torch.testing.assert_close(theirs.grad, own.grad, msg=lambda m, n=parameter_name: f"{n}: {m}")
    torch.testing.assert_close(wrapped.module.state_dict(), bare.state_dict())
    torch.testing.assert_close(method.predict(wrapped, images), method.predict(bare, images))
