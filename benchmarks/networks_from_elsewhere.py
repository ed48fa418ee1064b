"""Which networks of other libraries train here with neurons in the place of their activations, and what stops others.

    python benchmarks/networks_from_elsewhere.py [--library timm] [--family resnet,vgg] [--methods rate_m,bptt | all]
                                                 [--docs]

Each network makes one training step by each method and one evaluation, on random images. It works if the loss, the
outputs and the gradients are finite, and every parameter has a gradient that a plain forward and backward pass of the
network as it was gives one. `--docs` writes docs/networks-from-elsewhere.md, for the libraries, families and
methods that are tried; the one in the repository is for all of them by the two methods.
"""

import argparse
import traceback
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from textwrap import fill

import torch
from elsewhere_networks import TIMM, TORCHVISION, Network
from spikingjelly_networks import SPIKINGJELLY
from torch import Tensor, nn

from rbp_engine.methods import METHODS, create_method
from rbp_engine.methods.protocol import reset_state
from rbp_engine.spiking import LIF, UnsupportedOperation, make_spiking

NETWORKS = [*TORCHVISION, *TIMM, *SPIKINGJELLY]
DOCS = Path(__file__).parents[1] / "docs" / "networks-from-elsewhere.md"
SHOWN = ("rate_m", "bptt")
TIMESTEPS, BATCH = 2, 2
# Low, so that neurons fire in networks that have just been made. Behind a batch norm of silent neurons, which divides
# by √ε, gradients grow with each layer until they overflow.
THRESHOLD = 0.25
PAGE = """# Networks from elsewhere

`python benchmarks/networks_from_elsewhere.py --docs` writes this page: it tries a small member of each family, as its
library makes it, with new weights. [Neurons take the place of activations](own-network.md#networks-from-elsewhere);
gates, norms and softmax stay, so few of these are purely spiking.

A network works if one training step and one evaluation by each method, with T = {timesteps} and {batch} random images,
give finite numbers, and a gradient to every parameter that has one in a plain pass of the network as it was. That shows
that a step works, not that the network learns. V_th is {threshold}, so that neurons of untrained networks fire.

{totals}

GoogLeNet and Inception v3 are built without their auxiliary classifiers (`aux_logits=False`). A network that returns
several outputs is refused: let it return its logits alone.

## What does not work, and why

{reasons}

## What works

{rows}
"""


@dataclass(frozen=True)
class Outcome:
    """What became of a network: for each method "" if it works, else the reason."""

    network: Network
    failures: dict[str, str]


def try_network(network: Network, methods: Sequence[str]) -> Outcome:
    """One step and one evaluation by each method."""
    torch.manual_seed(0)
    made = network.make()
    images, labels = torch.rand(BATCH, *network.image), torch.arange(BATCH)
    expected = reached(made, images)
    spiking, _ = make_spiking(made, partial(LIF, threshold=THRESHOLD))
    return Outcome(network, {method: failure(spiking, method, images, labels, expected) for method in methods})


def reached(network: nn.Module, images: Tensor) -> set[str]:
    """The parameters to which a plain forward and backward pass in training gives a gradient."""
    network.train()
    out = network(images)
    torch.autograd.backward([o.sum() for o in (out if isinstance(out, (tuple, list)) else [out])])
    reset_state(network)
    return {name for name, parameter in network.named_parameters() if parameter.grad is not None}


def failure(spiking: nn.Module, name: str, images: Tensor, labels: Tensor, expected: set[str]) -> str:
    """Why the method cannot train or evaluate the network; "" if it can."""
    method = create_method(name, TIMESTEPS)
    spiking.train().zero_grad()
    try:
        out = method.step(spiking, images, labels)
        gradients = {key: parameter.grad for key, parameter in spiking.named_parameters()}
        missing = sorted(key for key in expected & gradients.keys() if gradients[key] is None)
        if missing:
            return f"no gradient for {missing[0]}" + (f" and {len(missing) - 1} more" if missing[1:] else "")
        broken = sorted(key for key, grad in gradients.items() if grad is not None and not grad.isfinite().all())
        if broken or not out.loss.isfinite():
            return f"not finite: {', '.join(broken[:2]) or 'the loss'}"
        if not method.predict(spiking, images).isfinite().all():
            return "not finite: the evaluation"
    except UnsupportedOperation as error:
        return f"`{error.operation}` in `{error.module}`{f': {error.why}' if error.why else ''}"
    except Exception as error:  # whatever it is, it is a row of the table
        frame = traceback.extract_tb(error.__traceback__)[-1]
        text = str(error).splitlines()[0] if str(error) else ""
        return f"{type(error).__name__}: {text} ({Path(frame.filename).name}, {frame.name})"
    return ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--library", choices=sorted({network.library for network in NETWORKS}))
    parser.add_argument("--family", default="")
    parser.add_argument("--methods", default=",".join(SHOWN))
    parser.add_argument("--docs", action="store_true")
    options = parser.parse_args()
    methods = list(METHODS) if options.methods == "all" else options.methods.split(",")
    warnings.filterwarnings("ignore")
    names = options.family.split(",") if options.family else []
    outcomes = []
    for network in NETWORKS:
        if options.library not in (None, network.library):
            continue
        if names and network.family not in names and network.name not in names:
            continue
        outcome = try_network(network, methods)
        outcomes.append(outcome)
        reasons = {method: reason for method, reason in outcome.failures.items() if reason}
        print(network.library, network.family, network.name, reasons or "works", flush=True)
    for line in totals(outcomes, methods):
        print(line)
    if options.docs:
        DOCS.write_text(page(outcomes, methods))


def totals(outcomes: Sequence[Outcome], methods: Sequence[str]) -> list[str]:
    """A row for each library: how many of its networks work, by method."""
    rows = []
    for library in dict.fromkeys(outcome.network.library for outcome in outcomes):
        of_it = [outcome for outcome in outcomes if outcome.network.library == library]
        counts = [f"{sum(not outcome.failures[method] for outcome in of_it)} of {len(of_it)}" for method in methods]
        rows.append(f"| {library} | {' | '.join(counts)} |")
    return rows


def page(outcomes: Sequence[Outcome], methods: Sequence[str]) -> str:
    """The page of the docs."""
    head = [f"| library | {' | '.join(methods)} |", "|---" * (1 + len(methods)) + "|", *totals(outcomes, methods)]
    working: dict[str, list[str]] = {}
    reasons = []
    for outcome in outcomes:
        network, failures = outcome.network, outcome.failures
        if not any(failures.values()):
            working.setdefault(network.library, []).append(f"`{network.name}`")
        for reason in dict.fromkeys(filter(None, failures.values())):
            stopped = ", ".join(method for method in methods if failures[method] == reason)
            reasons.append(f"* `{network.library}:{network.name}`, {stopped}: {reason}")
    rows = [fill(f"**{library}**: {', '.join(names)}.", 120) for library, names in working.items()]
    return PAGE.format(
        totals="\n".join(head), rows="\n\n".join(rows), reasons="\n".join(reasons) or "Nothing.",
        timesteps=TIMESTEPS, batch=BATCH, threshold=THRESHOLD,
    )  # fmt: skip


if __name__ == "__main__":
    main()
