import copy

import pytest
import torch
from torch import nn

from rbp_engine.errors import SettingsError
from rbp_engine.train.finite import FiniteGuard
from rbp_engine.train.optimisation import add_branches, create_optimizer, load_optimizer, set_learning_rate


def test_a_weight_that_two_modules_share_makes_one_step():
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    model[1].weight = model[0].weight
    optimizer = create_optimizer(model, "sgd", lr=0.1)
    stepped = [id(parameter) for group in optimizer.param_groups for parameter in group["params"]]
    assert sorted(stepped) == sorted(map(id, model.parameters()))


def test_norms_of_all_kinds_do_not_decay_unless_asked_to():
    norms = nn.Sequential(nn.GroupNorm(2, 4), nn.LayerNorm(4), nn.InstanceNorm1d(4, affine=True), nn.BatchNorm1d(4))
    assert [g["weight_decay"] for g in create_optimizer(norms, "sgd", lr=0.1, weight_decay=0.1).param_groups] == [0.0]
    model = nn.Sequential(nn.Linear(4, 4), norms)
    optimizer = create_optimizer(model, "adamw", lr=0.1, weight_decay=0.1, decay_norms=True)
    assert [(group["weight_decay"], len(group["params"])) for group in optimizer.param_groups] == [(0.1, 10)]


def test_biases_of_all_names_do_not_decay():
    model = nn.MultiheadAttention(4, 2, add_bias_kv=True)
    groups = create_optimizer(model, "sgd", lr=0.1, weight_decay=0.1).param_groups
    decaying = {id(weight) for group in groups if group["weight_decay"] for weight in group["params"]}
    names = {name for name, weight in model.named_parameters() if id(weight) in decaying}
    assert names == {"in_proj_weight", "out_proj.weight"}


@pytest.mark.parametrize("decay_norms", [False, True])
def test_branches_decay_by_the_rule_of_their_network(decay_norms):
    branch = nn.Sequential(nn.Conv2d(1, 2, 1, bias=False), nn.BatchNorm2d(2), nn.Linear(2, 2))
    optimizer = create_optimizer(nn.Linear(1, 1), "sgd", lr=0.1)
    add_branches(optimizer, nn.ModuleList([branch]), weight_decay=0.1, decay_norms=decay_norms)
    decay = {id(p): group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
    found = {name: decay[id(parameter)] for name, parameter in branch.named_parameters()}
    spared = 0.1 * decay_norms
    assert found == {"0.weight": 0.1, "1.weight": spared, "1.bias": spared, "2.weight": 0.1, "2.bias": spared}


def test_the_learning_rate_of_a_parameter_is_that_of_the_longest_path_that_names_it():
    model = nn.ModuleDict({"body": nn.Sequential(nn.Linear(1, 1), nn.BatchNorm1d(1)), "head": nn.Linear(1, 1)})
    factors = {"body": 0.5, "body.0.bias": 0.0, "head": 10.0}
    optimizer = create_optimizer(model, "sgd", lr=0.2, weight_decay=0.1, lr_factors=factors)
    for lr in (0.2, 0.01):
        found = {
            id(p): (group["lr"], group["weight_decay"]) for group in optimizer.param_groups for p in group["params"]
        }
        assert {key: found[id(p)] for key, p in model.named_parameters()} == {
            "body.0.weight": (lr * 0.5, 0.1),
            "body.0.bias": (0.0, 0.0),
            "body.1.weight": (lr * 0.5, 0.0),
            "body.1.bias": (lr * 0.5, 0.0),
            "head.weight": (lr * 10.0, 0.1),
            "head.bias": (lr * 10.0, 0.0),
        }
        set_learning_rate(optimizer, 0.01)
    again = create_optimizer(model, "sgd", lr=0.2, weight_decay=0.1, lr_factors=factors)
    load_optimizer(again, optimizer.state_dict())
    set_learning_rate(again, 0.1)
    assert sorted(group["lr"] for group in again.param_groups) == pytest.approx([0.0, 0.05, 0.05, 1.0, 1.0])


def test_a_factor_of_a_path_that_has_no_parameter_is_refused():
    model = nn.ModuleDict({"head": nn.Linear(1, 1), "flat": nn.Flatten()})
    hints = {"hed": "Did you mean 'head'", "hea": "", "flat": "Its parts: head, flat", "": "Its parts"}
    for path, hint in hints.items():
        with pytest.raises(SettingsError, match=rf"lr_factors names '{path}', and .*{hint}"):
            create_optimizer(model, "sgd", lr=0.1, lr_factors={path: 2.0})


def test_only_sgd_uses_momentum_and_an_unknown_optimizer_is_refused_with_the_known_ones():
    model = nn.Linear(1, 1)
    assert create_optimizer(model, "sgd", lr=0.1, momentum=0.7).param_groups[0]["momentum"] == 0.7
    assert isinstance(create_optimizer(model, "adam", lr=0.1, momentum=0.7), torch.optim.Adam)
    assert isinstance(create_optimizer(model, "adamw", lr=0.1), torch.optim.AdamW)
    with pytest.raises(ValueError, match=r"'lion'.*sgd, adam, adamw"):
        create_optimizer(nn.Linear(1, 1), "lion", lr=0.1)


@pytest.mark.parametrize(("saved", "made"), [(False, True), (True, False)], ids=["CPU to GPU", "GPU to CPU"])
def test_loading_a_state_from_another_device_keeps_the_fused_setting(saved, made):
    """The guard puts a flag into fused optimizers that others refuse."""
    results = []
    for fused in (saved, made):
        torch.manual_seed(0)
        model = nn.Linear(2, 2)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, fused=fused)
        if results:
            load_optimizer(optimizer, copy.deepcopy(results[0]))
        model(torch.ones(1, 2)).sum().backward()
        FiniteGuard(model, optimizer).step(torch.zeros(()))
        assert {group["fused"] for group in optimizer.param_groups} == {fused}
        results.append(optimizer.state_dict())
    momenta = [results[0]["state"][0]["momentum_buffer"], results[1]["state"][0]["momentum_buffer"]]
    torch.testing.assert_close(momenta[1], 1.9 * momenta[0])
