"""Devices that a run may get: CUDA_VISIBLE_DEVICES, --gpus, and what the driver reports about GPUs."""

import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rbp_engine.run.errors import RunError
from rbp_engine.run.queue.devices import MIB, Card, Device, choose_pool, has_card, visible_devices

CARDS = [Card(index, f"GPU-{index}a{index}b-77") for index in range(4)]
WORDS = st.sampled_from(
    ["0", "1", "2", "3", "7", "01", " 2", "-1", "", "x", "GPU-0a", "GPU-3a3b", "MIG-1/2/0", "MIG-5"]
)


def keys(devices: list[Device]) -> list[str]:
    return [device.key for device in devices]


@given(st.lists(st.sampled_from(["0", "1", "2", "3", "7", " 2", "-1"]), max_size=5, unique_by=str.strip).map(",".join))
def test_cuda_visible_devices_is_parsed_as_by_torch(visible):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CUDA_VISIBLE_DEVICES", visible)
        expected = torch.cuda._parse_visible_devices()
    there = list(itertools.takewhile(lambda name: name < len(CARDS), expected))
    assert [device.name for device in visible_devices(CARDS, visible)] == there


@given(st.none() | st.lists(WORDS, max_size=5).map(",".join))
def test_every_visible_device_is_a_card_or_a_slice_and_unique(visible):
    seen = visible_devices(CARDS, visible)
    assert len(set(keys(seen))) == len(seen)
    assert all(device in visible_devices(CARDS, None) or device.key.startswith("MIG-") for device in seen)


def test_cards_are_found_by_index_and_by_the_beginning_of_their_uuid_and_slices_keep_their_name():
    assert keys(visible_devices(CARDS, "3,1")) == [CARDS[3].uuid, CARDS[1].uuid]
    assert keys(visible_devices(CARDS, "GPU-2a2b")) == [CARDS[2].uuid]
    assert visible_devices(CARDS, "GPU-") == []  # it matches several, and then CUDA uses none
    assert keys(visible_devices(CARDS, "1,9,2")) == [CARDS[1].uuid]
    assert visible_devices(CARDS, "") == []
    assert visible_devices(CARDS, None) == [Device(card.uuid, card.index) for card in CARDS]
    (device,) = visible_devices(CARDS, "MIG-GPU-5/1/0")
    assert device.name == "MIG-GPU-5/1/0" and "/" not in device.key


@pytest.mark.parametrize(
    ("used", "processes", "free"),
    [
        (0, (), True),
        (900 * MIB, (), True),
        (2000 * MIB, (), False),  # used by another container, whose processes are not listed
        (0, (30 * MIB,), True),
        (400 * MIB, (400 * MIB,), False),  # only a context, but somebody is about to compute
        (0, (None,), False),
    ],
)
def test_a_card_is_free_unless_somebody_computes_on_it(used, processes, free):
    assert Card(0, "GPU-0", used, processes).is_free == free


@pytest.mark.parametrize(
    ("gpus", "device", "cards", "visible", "expected"),
    [
        ("auto", "auto", CARDS, None, [0, 1, 2, 3]),
        ("auto", "cuda", CARDS, "2,0", [2, 0]),
        ("2,1", "auto", CARDS, None, [2, 1]),
        ("3", "auto", CARDS, "1,3", [3]),
        ("auto", "cpu", CARDS, None, [None, None]),
        ("none", "auto", CARDS, None, [None, None]),
        ("auto", "auto", [], None, [None, None]),
        ("auto", "auto", [], "", [None, None]),
    ],
)
def test_the_pool_has_the_visible_cards_or_cpu_slots(gpus, device, cards, visible, expected):
    pool = choose_pool(gpus, device, cards, visible, slots=2, cores=8)
    assert [device.name for device in pool.devices] == expected
    assert len(set(keys(list(pool.devices)))) == len(expected)


@pytest.mark.parametrize(("slots", "cores", "threads"), [(1, 2, 2), (4, 8, 2), (3, 8, 2), (4, 2, 1)])
def test_the_cores_are_divided_evenly(slots, cores, threads):
    assert choose_pool("none", "auto", [], None, slots, cores).threads == threads


@pytest.mark.parametrize(
    ("gpus", "device", "cards", "visible", "message"),
    [
        ("0,4", "auto", CARDS, None, "there is no card 4; there is 0, 1, 2, 3"),
        ("0", "auto", CARDS, "1,2", "there is no card 0; there is 1, 2"),
        ("0", "auto", [], None, "no NVIDIA card here"),
        ("auto", "cuda", [], None, "no NVIDIA card here"),
        ("auto", "auto", CARDS, "", "CUDA_VISIBLE_DEVICES='' hides every card"),
        ("0,0", "auto", CARDS, None, "expected auto, none, or cards"),
        ("first", "auto", CARDS, None, "expected auto, none, or cards"),
        ("", "auto", CARDS, None, "expected auto, none, or cards"),
        ("-1", "auto", CARDS, None, "expected auto, none, or cards"),
        ("9" * 5000, "auto", CARDS, None, "expected auto, none, or cards"),
        ("0", "cpu", CARDS, None, "leave one of them out"),
        ("none", "cuda:1", CARDS, None, "leave one of them out"),
        ("auto", "cuda:1", CARDS, None, "run.device=cuda:1 names a card"),
    ],
)
def test_an_impossible_pool_is_refused_with_a_remedy(gpus, device, cards, visible, message):
    with pytest.raises(RunError, match=message):
        choose_pool(gpus, device, cards, visible, slots=1, cores=2)


@pytest.mark.parametrize(
    ("files", "found"),
    [
        (["proc/driver/nvidia/gpus/0000:01:00.0"], True),
        (["proc/driver/nvidia/version"], False),
        (["dev/dxg", "usr/lib/wsl/lib/libcuda.so.1"], True),  # Linux under Windows
        (["dev/dxg", "usr/lib/wsl/lib/libdxcore.so"], False),  # with a GPU of another vendor
        (["usr/lib/wsl/lib/libcuda.so.1"], False),
        ([], False),
    ],
)
def test_a_card_is_detected_by_files_of_the_kernel_or_windows(tmp_path, files, found):
    for name in files:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert has_card(tmp_path) == found
