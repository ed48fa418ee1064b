"""Spiking neurons, and the carriers in which spikes over time flow through ordinary torch modules."""

from rbp_engine.spiking.carrier import Carrier
from rbp_engine.spiking.carriers.rate import RateTensor
from rbp_engine.spiking.carriers.sequence import SequenceTensor
from rbp_engine.spiking.neuron import LIF
from rbp_engine.spiking.rules import UnsupportedOperation

__all__ = ["LIF", "Carrier", "RateTensor", "SequenceTensor", "UnsupportedOperation"]
