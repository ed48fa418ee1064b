"""The cosine of a method's ∂L/∂λ and ∂L/∂V_th with BPTT's, on trained networks: one vector over all layers.

    rbp train digits 'neuron.learn=["decay","threshold"]' seed=1
    python benchmarks/learnt_gradients.py RUN … [--batches 12] [--timesteps 4] [--fixed-norms]

RUN is the folder of a run. Cosines and ratios of norms are means over its first training batches. The reference has the
batch statistics of its method: multi-step BPTT for rate_M, single-step BPTT for the others. With --fixed-norms all have
the running statistics. Gradients are of λ and V_th themselves.
"""

import argparse
import itertools
from pathlib import Path
from statistics import mean

import torch
from torch import Tensor, nn

import rbp_engine
from rbp_engine.loaded import Loaded
from rbp_engine.methods import create_method
from rbp_engine.probes.gradient_fidelity import REFERENCE
from rbp_engine.probes.layers import neuron_layers
from rbp_engine.train.build import build_feed


def gradients(model: nn.Module, method: str, timesteps: int, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
    """∂L/∂λ and ∂L/∂V_th by the path of what is learnt, from those of λ = sigmoid(w) and V_th = exp(w)."""
    model.zero_grad()
    settings = {"loss_scale": "1"} if method.startswith("rate") else {}
    create_method(method, timesteps, **settings).step(model, images, labels)
    found = {}
    for path, neuron in neuron_layers(model).items():
        if neuron.decay_logit is not None:
            decay = torch.as_tensor(neuron.decay).detach()
            found[f"{path}.decay"] = neuron.decay_logit.grad / (decay * (1.0 - decay))
        if neuron.log_threshold is not None:
            found[f"{path}.threshold"] = neuron.log_threshold.grad / torch.as_tensor(neuron.threshold).detach()
    return {name: gradient.flatten().double() for name, gradient in found.items()}


def agreement(found: dict[str, Tensor], expected: dict[str, Tensor]) -> tuple[float, float]:
    """Their cosine, and the norm of the first by that of the second."""
    one, other = (torch.cat(list(side.values())) for side in (found, expected))
    return float(nn.functional.cosine_similarity(one, other, dim=0)), float(one.norm() / other.norm())


def compare(loaded: Loaded, method: str, timesteps: int, batches: int, *, fixed_norms: bool) -> list[str]:
    """The means over batches, of all that is learnt, of λ and of V_th."""
    assert loaded.run is not None
    feed = build_feed(loaded.run, loaded.preset, loaded.device, timesteps)
    model = loaded.model.train()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.train(not fixed_norms)
    start = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    found: dict[str, list[tuple[float, float]]] = {}
    for images, labels in itertools.islice(feed.train.epoch(0), batches):
        sides = []
        for name in (method, REFERENCE[method]):
            model.load_state_dict(start)
            sides.append(gradients(model, name, timesteps, images, labels))
        for kind in ("", "decay", "threshold"):
            parts = [{name: x for name, x in side.items() if name.endswith(kind)} for side in sides]
            if parts[0]:
                found.setdefault(kind, []).append(agreement(*parts))
    return ["{:.3f}, {:.3f}".format(*map(mean, zip(*each, strict=True))) for each in found.values()]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN")
    parser.add_argument("--batches", type=int, default=12)
    parser.add_argument("--timesteps", type=int, default=0, help="those of the run if 0")
    parser.add_argument("--fixed-norms", action="store_true")
    chosen = parser.parse_args()
    print(f"{'run':34} {'method':7} cosine, norm ratio: of both, λ, V_th")
    for path in chosen.runs:
        loaded = rbp_engine.load(path, weights="last")
        timesteps = chosen.timesteps or loaded.preset.method.timesteps
        for method in (method for method, reference in REFERENCE.items() if method != reference):
            texts = compare(loaded, method, timesteps, chosen.batches, fixed_norms=chosen.fixed_norms)
            print(f"{path.name:34} {method:7} {'   '.join(texts)}")


if __name__ == "__main__":
    main()
