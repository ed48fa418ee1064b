"""Spiking neurons, and the carriers in which spikes over time flow through ordinary torch modules.

`docs/how-it-works.md` leads from the equations to the files. The letters are those of the paper:

    I_t     current          the input of a neuron at timestep t
    u_t     charged          the membrane before it fires
    v_t     membrane         the membrane after the reset
    s_t     spikes           0 or 1
    λ       decay            V_th    threshold
    σ'_t    slope            of the surrogate, at u_t − V_th
    r       rate             firing rate mean_t s_t; of anything else, the time mean with its gradient
    c                        mean current mean_t I_t
    ρ_t     rho              ρ_1 = 1, ρ_{t+1} = 1 + ρ_t·∂u_{t+1}/∂u_t
    ∂v_t/∂u_t                survives; ∂u_{t+1}/∂u_t is λ times it
    e_t, f_t                 sensitivities: ∂u_t/∂λ and ∂u_t/∂V_th, where λ or V_th is learnt
    g       eligibility      mean_t(σ'_t·ρ_t)
    ∂L/∂v_t                  grad_membrane
    γ, β                     weight and bias of a batch norm; μ mean, 1/√(σ² + ε) inverse_deviation

A grad_proxy stands in the graph for a time mean whose value is known (`spiking/steps.py`).

Shapes are written [T, B, C, H, W]: timesteps, batch, channels, height, width; [B, …] is what a module sees of one
timestep, whatever its dimensions. Where a name alone leaves the shape open it has a suffix:

    _TBX    [T, B, …]        _BX     [B, …]        _C      [C], one number a channel
    _TF     [T, F]           _F      [F], one timestep as a loop sees it (`spiking/layers/loops.py`)
    _t      of timestep t, [B, …]
"""

from rbp_engine.spiking.carrier import Carrier
from rbp_engine.spiking.carriers.sequence import RateTensor, SequenceTensor
from rbp_engine.spiking.convert.make_spiking import make_spiking
from rbp_engine.spiking.errors import UnsupportedOperation
from rbp_engine.spiking.fusion import unfused
from rbp_engine.spiking.neuron import IF, LIF, PLIF
from rbp_engine.spiking.own_neuron import OwnNeuron
from rbp_engine.spiking.rules.rule_table import register_rule

__all__ = [
    "IF",
    "LIF",
    "PLIF",
    "Carrier",
    "OwnNeuron",
    "RateTensor",
    "SequenceTensor",
    "UnsupportedOperation",
    "make_spiking",
    "register_rule",
    "unfused",
]
