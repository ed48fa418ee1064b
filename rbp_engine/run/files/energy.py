"""`energy.json`: what a run's network does for one image, and what that costs beside other networks of its shape.

Operations are counts for one image. Energies are picojoules for one image, at the widths of integer hardware which
`rbp_engine/probes/energy.py` gives, except where a name says otherwise.
"""

from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any

from rbp_engine.codec import Amount, Count, Positive, decode
from rbp_engine.printable import Line
from rbp_engine.run.files.file_memo import FileMemo
from rbp_engine.run.files.layout import RunDirectory

PJ_IN_UJ = 1e6  # picojoules in a microjoule


@dataclass(frozen=True)
class EnergyCost:
    """Energy in picojoules: of arithmetic, with the computation of addresses, and of memory access."""

    compute_pj: Amount = 0.0
    memory_pj: Amount = 0.0

    @property
    def total_pj(self) -> float:
        return self.compute_pj + self.memory_pj

    def __add__(self, other: "EnergyCost") -> "EnergyCost":
        return EnergyCost(self.compute_pj + other.compute_pj, self.memory_pj + other.memory_pj)

    def __sub__(self, other: "EnergyCost") -> "EnergyCost":
        return self + other * -1.0

    def __mul__(self, factor: float) -> "EnergyCost":
        return EnergyCost(self.compute_pj * factor, self.memory_pj * factor)


@dataclass(frozen=True)
class LayerEnergy:
    """A convolution, a linear layer, or a module that multiplies activations.

    `synops` are weights added for spikes, `acs` all additions, `macs` multiplications with an addition. `rate` is the
    mean number of spikes per input and timestep, and None if the input is not made of spikes. `ann_macs` are those of
    the same layer in an ANN. `fixed_pj` is spent without a spike, `spiking_pj` in proportion to the spikes,
    `quantised_pj` by the layer of the quantised ANN; all three are None if the energy model does not know the module.
    """

    name: Line
    synops: Amount
    acs: Amount
    macs: Amount
    ann_macs: Amount
    rate: Amount | None = None
    fixed_pj: Amount | None = None
    spiking_pj: Amount | None = None
    quantised_pj: Amount | None = None

    @property
    def pj(self) -> float | None:
        """The energy of the layer; None if it is not known."""
        return None if self.fixed_pj is None or self.spiking_pj is None else self.fixed_pj + self.spiking_pj


@dataclass(frozen=True)
class NeuronEnergy:
    """All neurons: updates of a membrane, spikes, and the energy that is spent without and in proportion to them."""

    updates: Amount = 0.0
    spikes: Amount = 0.0
    fixed_pj: Amount = 0.0
    spiking_pj: Amount = 0.0

    @property
    def pj(self) -> float:
        return self.fixed_pj + self.spiking_pj


@dataclass(frozen=True)
class Energy:
    """The energy of a network for one image, the mean over `images` of them, at T = `timesteps`.

    `spiking` and `quantised` are the costs of this network and of an ANN of the same shape whose activations have
    `bits` bits, both on integer hardware; `spiking_32` and `ann_32` are those at 32 bits. `other_acs` are additions
    outside the layers, as in pools. `uncounted` names what the costs leave out. The weights are those of optimizer step
    `step`.
    """

    timesteps: Positive
    images: Positive
    bits: Count
    layers: list[LayerEnergy]
    neurons: NeuronEnergy
    spiking: EnergyCost
    quantised: EnergyCost
    spiking_32: EnergyCost
    ann_32: EnergyCost
    other_acs: Amount = 0.0
    uncounted: list[Line] = field(default_factory=list)
    step: Count | None = None

    @property
    def synops(self) -> float:
        return sum(layer.synops for layer in self.layers)

    @property
    def macs(self) -> float:
        return sum(layer.macs for layer in self.layers)

    @property
    def acs(self) -> float:
        return sum(layer.acs for layer in self.layers) + self.other_acs

    @property
    def ann_macs(self) -> float:
        return sum(layer.ann_macs for layer in self.layers)

    @property
    def rate(self) -> float | None:
        """The mean rate of the layers that spikes drive, weighted by their `ann_macs`; None without such a layer."""
        driven = [layer for layer in self.layers if layer.rate is not None]
        synapses = sum(layer.ann_macs for layer in driven)
        return sum((layer.rate or 0.0) * layer.ann_macs for layer in driven) / synapses if synapses else None

    @property
    def break_even(self) -> float | None:
        """The mean rate at which the network costs as much as the quantised ANN; None if it costs more at any rate."""
        fixed = self.neurons.fixed_pj + sum(layer.fixed_pj or 0.0 for layer in self.layers)
        spiking = self.neurons.spiking_pj + sum(layer.spiking_pj or 0.0 for layer in self.layers)
        if not self.rate or not spiking or self.quantised.total_pj <= fixed:
            return None
        return self.rate * (self.quantised.total_pj - fixed) / spiking

    def as_json(self) -> dict[str, Any]:
        """All fields, and what follows from them."""
        derived = ("synops", "acs", "macs", "ann_macs", "rate", "break_even")
        return asdict(self) | {name: getattr(self, name) for name in derived}


def write_energy(run: RunDirectory, energy: Energy) -> None:
    """Write `energy.json`, whole or not at all. Raises OSError."""
    _memo.write(run.energy_json, asdict(energy), run.path)


def read_energy(run: RunDirectory) -> Energy | None:
    """The energy of a run; None if it was never measured, or the file is damaged."""
    return _memo.find(run.energy_json, None)


_memo = FileMemo(partial(decode, Energy))
