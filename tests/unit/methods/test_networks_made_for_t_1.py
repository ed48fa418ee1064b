"""SpikingJelly's networks that repeat an image T times themselves: made for T = 1, they train here unmodified."""

import pytest
import torch
from spikingjelly.activation_based.model import masnn, maxformer, ms_resnet, qkformer, spikformer
from spikingjelly.activation_based.model.spike_driven_transformer import SpikeDrivenTransformer
from torch import nn

from rbp_engine.methods import create_method
from rbp_engine.spiking import make_spiking
from tests.unit.models.spikingjelly_weights import at_work

T, B = 4, 2
LABELS = torch.tensor([1, 3])
CLASSES = {"num_classes": 4}
THIN = {"base_channels": 8, "layers": (1, 1, 1), **CLASSES}


NETWORKS = {
    "MS-ResNet": lambda t: ms_resnet.MSResNet(T=t, **THIN),
    "Max-ResNet": lambda t: ms_resnet.MaxResNet(T=t, **THIN),
    "Max-Former": lambda t: maxformer.MaxFormer(T=t, embed_dims=32, depths=(1, 1, 1), **CLASSES),
    "Max-Former, CIFAR": lambda t: maxformer.MaxFormer(T=t, embed_dims=32, depths=(1, 1, 1), cifar=True, **CLASSES),
    "QKFormer": lambda t: qkformer.QKFormer(T=t, embed_dims=32, num_heads=(1, 2, 2), depths=(1, 1, 1), **CLASSES),
    "Spike-driven Transformer": lambda t: SpikeDrivenTransformer(T=t, embed_dims=16, num_heads=2, depths=1, **CLASSES),
    "Spikformer": lambda t: nn.Sequential(
        spikformer.Spikformer(
            T=t, embed_dims=16, num_heads=2, depths=1, img_size_h=32, img_size_w=32, patch_size=4, **CLASSES
        ),
        nn.Flatten(0, 1),
    ),
}
# Attention over timesteps mixes them for T > 1, so they have one timestep of their own only.
ONLY_FOR_T_1 = {
    "Att-MS-ResNet": lambda: masnn.AttMSResNet(T=1, **THIN),
    "MA-SNN": lambda: masnn.MASNN(
        T=1, reduction_t=1, in_channels=3, input_size=(32, 32), channels=(8, 8, 8), fc_hidden=16, **CLASSES
    ),
}


@pytest.mark.parametrize("name", NETWORKS)
@torch.no_grad()
def test_the_logits_are_those_of_spikingjellys_own_t_timesteps(name):
    torch.manual_seed(0)
    theirs, ours = at_work(NETWORKS[name](T), bias=1.2).eval(), NETWORKS[name](1).double().eval()
    ours.load_state_dict(theirs.state_dict())
    ours, _ = make_spiking(ours)
    images = torch.randn(B, 3, 32, 32, dtype=torch.float64)
    expected = theirs[0](images).mean(0) if isinstance(theirs, nn.Sequential) else theirs(images)
    assert expected.std(0).max() > 1e-4
    logits = create_method("rate_m", T).predict(ours, images).mean(0)
    torch.testing.assert_close(logits, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", [*NETWORKS, *ONLY_FOR_T_1])
def test_every_parameter_gets_a_gradient(name):
    torch.manual_seed(0)
    network, _ = make_spiking(ONLY_FOR_T_1[name]() if name in ONLY_FOR_T_1 else NETWORKS[name](1))
    images = torch.randn(B, 3, 32, 32)
    for method in ("rate_m", "rate_s"):
        network.train().zero_grad()
        assert create_method(method, 2).step(network, images, LABELS).logits.shape == (B, 4)
        assert all(parameter.grad.isfinite().all() for parameter in network.parameters())


def test_a_network_made_for_more_timesteps_is_refused_with_the_remedy():
    network, _ = make_spiking(ms_resnet.MSResNet(T=T, **THIN))
    message = "MSResNet repeats its input 4 times itself, .* make the network with T=1"
    for run in (lambda method, x: method.step(network, x, LABELS), lambda method, x: method.predict(network, x)):
        with pytest.raises(TypeError, match=message):
            run(create_method("rate_m", T), torch.randn(B, 3, 32, 32))
