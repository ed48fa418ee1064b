"""Every method on random networks, compared with oracles written without carriers, in float64."""

import copy
import functools
import os
import re

import pytest
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd

from rbp_engine.methods import METHODS
from rbp_engine.spiking import SequenceTensor
from rbp_engine.spiking.current import Current
from rbp_engine.spiking.rules.rule_table import RULES
from tests.fuzz.comparison import by_engine, by_oracle, by_step, differences
from tests.fuzz.networks import EXPRESSIONS, FIRE, OPERATIONS, draw
from tests.fuzz.oracles import ORACLES

pytestmark = pytest.mark.filterwarnings("ignore:.* gives numbers that are no spikes")
# `make fuzz` sets it to 2000. The networks have consecutive seeds, starting from RBP_FUZZ_FIRST.
NETWORKS = int(os.environ.get("RBP_FUZZ_NETWORKS", "60"))
FIRST = int(os.environ.get("RBP_FUZZ_FIRST", "0"))
CHUNK = 20
CHUNKS = [range(first, min(first + CHUNK, FIRST + NETWORKS)) for first in range(FIRST, FIRST + NETWORKS, CHUNK)]

# Called by others (`unbind` by `list`), of another type or rank than the oracles have, or other names of `matmul`.
LEFT_OUT = {"unbind", "float", "half", "bfloat16", "mm", "tensordot", "addmm", "baddbmm"}
# Two activations are equal too often: tests/unit/spiking/test_nonlinear_rules.py.
LEFT_OUT |= {"maximum", "minimum"}
LEFT_OUT |= {name for name in RULES if name.endswith("3d")}

# They are made of other rules, and have oracles of their own in tests/unit/spiking/test_attention_rules.py.
COMPOSED = {"scaled_dot_product_attention", "multi_head_attention_forward"}

# The engine is held against the reference on a part of the networks, and on all of them in `make fuzz`.
HELD = CHUNKS if NETWORKS > 60 else CHUNKS[:1]
WITH_REFERENCE = ("bptt", "rate_m", "rate_s")

problem_of = functools.lru_cache(draw)


@pytest.mark.parametrize("seeds", CHUNKS, ids=lambda seeds: f"{seeds.start}-{seeds.stop - 1}")
@pytest.mark.parametrize("method", METHODS)
def test_a_step_and_its_reference_give_what_the_oracle_gives(method, seeds):
    """Compares the loss, the logits, all gradients, the running statistics and the prediction after the step."""
    faults, ties = [], 0
    for seed in seeds:
        try:
            expected = by_oracle(problem_of(seed), method)
            wrong = differences_of(problem_of(seed), method, expected, with_reference=seeds in HELD)
        except Exception as error:
            error.add_note(description(seed, method, []))
            raise
        if wrong and expected.depends_on_rounding():
            ties += 1
        elif wrong:
            faults.append(description(seed, method, wrong))
    assert not faults, f"{len(faults)} of {len(seeds)} networks differ\n\n" + "\n\n".join(faults[:3])
    assert ties <= (len(seeds) + 1) // 4, "so many differences that rounding may explain"


def differences_of(problem, method, expected, *, with_reference):
    engine = by_engine(problem, method)
    if wrong := differences(engine, expected):
        return wrong
    if not with_reference or method not in WITH_REFERENCE or not draws_alike(problem):
        return []
    if method == "rate_s" and not moves_alike(problem):
        return []
    reference = by_engine(problem, method, reference=True)
    return differences(reference, expected) or differences(engine, reference)


def moves_alike(problem):
    """Whether running statistics move in rate_s as in its reference, where all timesteps of a layer come first.

    No batch norm is used twice, or takes its momentum from the number of batches (which the reference refuses).
    """
    network = problem.network
    norms = [norm for norm in (network.layers[node.layer] for node in network.nodes) if isinstance(norm, _BatchNorm)]
    return len(set(norms)) == len(norms) and all(norm.momentum is not None for norm in norms)


def draws_alike(problem):
    """Whether dropout draws as in the reference, whose stacked timesteps are contiguous: it draws in memory order."""
    network, contiguous = copy.deepcopy(problem.network), []
    for layer in network.layers:
        if isinstance(layer, _DropoutNd):
            layer.register_forward_pre_hook(lambda layer, inputs: contiguous.append(inputs[0].is_contiguous()))
    images, _ = problem.batches[0]
    network(by_step(images, 1)[0])
    return all(contiguous)


def description(seed, method, wrong):
    """The command that runs this network again, the differences, and the network."""
    replay = (
        f"RBP_FUZZ_FIRST={seed} RBP_FUZZ_NETWORKS=1 python -m pytest tests/fuzz/test_random_networks.py -k {method}"
    )
    return "\n".join([replay, *wrong[:8], str(problem_of(seed))])


def test_every_method_has_an_oracle():
    assert ORACLES.keys() == METHODS.keys()


def test_the_operations_are_those_of_the_rule_table():
    several = {FIRE, "number", "moves", "smooth", "rows", "maxima", "weights"}
    text = str([EXPRESSIONS[key] for key in several - {FIRE}])
    among = {name for name in RULES if re.search(rf"\b{name.replace('log_s', 'logs')}\b", text)}
    assert set(OPERATIONS) - several | among | {"pow", "linalg_vector_norm"} == RULES.keys() - LEFT_OUT - COMPOSED


def test_sixty_networks_use_every_operation_in_more_than_one_network(monkeypatch):
    """Counts what the engine sees: it looks operations up by their names."""
    found = {name: set() for name in RULES if name in OPERATIONS}

    def counting(name, rule):
        def counted(*arguments):
            found[name].add(seed)
            return rule(*arguments)

        return counted

    for name in found:
        monkeypatch.setitem(RULES, name, counting(name, RULES[name]))
    for seed in range(60):
        problem = problem_of(seed)
        images, _ = problem.batches[0]
        current = Current.constant(images, problem.timesteps) if images.ndim == 4 else Current.of(images)
        problem.network.eval()(SequenceTensor(current))
    print(sorted((len(v), k) for k, v in found.items())[:9])
    assert min(map(len, found.values())) > 1, {name: len(seeds) for name, seeds in found.items()}
