"""Spiking neurons, and the carriers in which sequences of spikes flow through ordinary torch modules."""

from rbp_engine.spiking.carriers import Carrier, RateTensor, SequenceTensor
from rbp_engine.spiking.neuron import LIF
from rbp_engine.spiking.rules import UnsupportedOperation

__all__ = ["LIF", "Carrier", "RateTensor", "SequenceTensor", "UnsupportedOperation"]
