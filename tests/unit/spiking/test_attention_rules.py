"""Attention with softmax: what torch's own layers give step by step; test_reference.py has its rate gradient."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from rbp_engine.methods import create_method
from rbp_engine.spiking import LIF, SequenceTensor, UnsupportedOperation
from rbp_engine.spiking.current import Current
from tests.unit.spiking.method_checks import check_one_gradient_at_t_1
from tests.unit.spiking.rule_checks import B, T, close, random, same_gradients

N, E, HEADS = 5, 6, 2
pytestmark = pytest.mark.filterwarnings("ignore:.* that are no spikes")


KEEP = torch.ones(N, N, dtype=torch.bool).tril()
DOT_PRODUCTS = {
    "plain": {},
    "scaled": {"scale": 0.3},
    "causal": {"is_causal": True},
    "masked": {"attn_mask": KEEP},
    "biased": {"attn_mask": random(N, N, seed=5)},
}


@pytest.mark.parametrize("case", DOT_PRODUCTS)
def test_scaled_dot_product_attention_of_a_sequence_is_torchs_at_each_step(case):
    inputs = [random(T, B, HEADS, N, 3, seed=i).requires_grad_() for i in range(3)]
    sequences = [SequenceTensor(Current.of(x)) for x in inputs]
    out = F.scaled_dot_product_attention(*sequences, **DOT_PRODUCTS[case]).values()
    expected = F.scaled_dot_product_attention(*inputs, **DOT_PRODUCTS[case])
    close(out, expected)
    same_gradients(out, inputs, expected)


def test_a_mask_beside_a_causal_one_is_refused_as_torch_refuses_it():
    x = random(T, B, HEADS, N, 3)
    for q, error in ((x, RuntimeError), (SequenceTensor(Current.of(x)), UnsupportedOperation)):
        with pytest.raises(error, match="attn_mask"):
            F.scaled_dot_product_attention(q, q, q, attn_mask=KEEP, is_causal=True)


def layer(**settings):
    torch.manual_seed(1)
    attention = nn.MultiheadAttention(E, HEADS, **settings).double()
    if attention.in_proj_bias is not None:
        nn.init.normal_(attention.in_proj_bias)
    return attention


LAYERS = {
    "batch first": {"batch_first": True},
    "batch second": {},
    "without bias": {"batch_first": True, "bias": False},
    "keys of their own size": {"batch_first": True, "kdim": E, "vdim": E},
}
CALLS = {
    "plain": {"need_weights": False},
    "with weights": {},
    "weights of each head": {"average_attn_weights": False},
    "masked": {"attn_mask": ~KEEP, "need_weights": False},
    "padded": {"key_padding_mask": torch.tensor([[False] * N, [False] * (N - 2) + [True] * 2])},
    "a mask for each head": {"attn_mask": random(B * HEADS, N, N, seed=8)},
}


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(
    ("settings", "call"),
    [*((settings, "plain") for settings in LAYERS), *(("batch first", call) for call in CALLS if call != "plain")],
)
def test_multihead_attention_of_a_sequence_is_torchs_at_each_step(settings, call, training):
    attention = layer(**LAYERS[settings]).train(training)
    shape = (B, N, E) if attention.batch_first else (N, B, E)
    x = random(T, *shape)
    carrier = SequenceTensor(Current.of(x))
    out, weights = attention(carrier, carrier, carrier, **CALLS[call])
    steps = [attention(x_t, x_t, x_t, **CALLS[call]) for x_t in x]
    close(out.values(), torch.stack([of_step for of_step, _ in steps]))
    if weights is None:
        assert all(of_step is None for _, of_step in steps)
    else:
        close(weights.values(), torch.stack([of_step for _, of_step in steps]))


class Tokens(nn.Module):
    """Torch's own transformer layer between neurons."""

    def __init__(self):
        super().__init__()
        self.into, self.fire, self.head = nn.Linear(4, E), LIF(threshold=0.3), nn.Linear(E, 3)
        self.block = nn.TransformerEncoderLayer(E, HEADS, 8, dropout=0.0, batch_first=True)

    def forward(self, x):
        return self.head(self.block(self.fire(self.into(x.flatten(2).transpose(1, 2)))).mean(1))


def test_all_methods_have_one_gradient_of_a_transformer_layer_at_t_1_and_predict_with_it():
    check_one_gradient_at_t_1(Tokens, random(B, 4, 2, 3), torch.tensor([0, 2]))
    assert create_method("rate_m", T).predict(Tokens(), torch.rand(T, B, 4, 2, 3)).isfinite().all()


@pytest.mark.parametrize(
    ("attention", "message"),
    [
        (lambda x: layer(add_bias_kv=True)(x, x, x), "bias_k"),
        (lambda x: layer(add_zero_attn=True)(x, x, x), "add_zero_attn"),
        (lambda x: F.scaled_dot_product_attention(x, x, x, enable_gqa=True), "enable_gqa"),
    ],
)
def test_what_attention_cannot_do_is_refused_with_the_remedy(attention, message):
    with pytest.raises(UnsupportedOperation, match=message):
        attention(SequenceTensor(Current.of(random(T, N, B, E))))
