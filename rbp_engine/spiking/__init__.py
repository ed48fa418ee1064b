"""Spiking neurons, and the carriers in which spikes over time flow through ordinary torch modules."""

from rbp_engine.spiking.carrier import Carrier
from rbp_engine.spiking.neuron import LIF
from rbp_engine.spiking.rate import RateTensor
from rbp_engine.spiking.rules import UnsupportedOperation
from rbp_engine.spiking.sequence import SequenceTensor

__all__ = ["LIF", "Carrier", "RateTensor", "SequenceTensor", "UnsupportedOperation"]
