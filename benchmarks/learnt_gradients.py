"""The cosine of a method's ∂L/∂λ and ∂L/∂V_th with BPTT's, on trained networks: one vector over all layers.

    rbp train digits 'neuron.learn=["decay","threshold"]' seed=1
    python benchmarks/learnt_gradients.py RUN … [--images 256] [--timesteps 4]

RUN is the folder of a run, or what a checkpoint's file is called. The reference has the batch statistics of its method:
multi-step BPTT for rate_M, single-step BPTT for the others. Gradients are of λ and V_th themselves.
"""

import argparse
from pathlib import Path

import torch
from torch import Tensor, nn

import rbp_engine
from rbp_engine.data.protocol import EvaluationSource
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


def first_images(batches: EvaluationSource, number: int) -> tuple[Tensor, Tensor]:
    """The first so many images [B, …] or [T, B, …] and labels."""
    images, labels = zip(*batches, strict=True)
    dim = images[0].ndim - 4
    return torch.cat(images, dim).narrow(dim, 0, number).clone(), torch.cat(labels)[:number]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN")
    parser.add_argument("--images", type=int, default=256)
    parser.add_argument("--timesteps", type=int, default=0, help="those of the run if 0")
    chosen = parser.parse_args()
    print(f"{'run':34} {'method':7} cosine, norm ratio: of both, λ, V_th")
    for path in chosen.runs:
        loaded = rbp_engine.load(path, weights="last")
        timesteps = chosen.timesteps or loaded.preset.method.timesteps
        feed = build_feed(loaded.run, loaded.preset, loaded.device, timesteps)
        images, labels = first_images(feed.test, chosen.images)
        model = loaded.model.train()
        start = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        for method, reference in REFERENCE.items():
            if method == reference:
                continue
            sides = []
            for name in (method, reference):
                model.load_state_dict(start)
                sides.append(gradients(model, name, timesteps, images, labels))
            texts = []
            for kind in ("", "decay", "threshold"):
                parts = [{name: x for name, x in side.items() if name.endswith(kind)} for side in sides]
                if parts[0]:
                    texts.append("{:.4f}, {:.3f}".format(*agreement(*parts)))
            print(f"{path.name:34} {method:7} {'   '.join(texts)}")


if __name__ == "__main__":
    main()
