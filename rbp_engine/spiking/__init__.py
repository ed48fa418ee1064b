"""Spiking neurons, and the carriers in which spikes over time flow through ordinary torch modules."""

from rbp_engine.spiking.carrier import Carrier
from rbp_engine.spiking.carriers.rate import RateTensor
from rbp_engine.spiking.carriers.sequence import SequenceTensor
from rbp_engine.spiking.errors import UnsupportedOperation
from rbp_engine.spiking.neuron import LIF

__all__ = ["LIF", "Carrier", "RateTensor", "SequenceTensor", "UnsupportedOperation"]
