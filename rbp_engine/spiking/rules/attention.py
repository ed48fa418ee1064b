"""Attention with softmax, made of operations that have rules: products, a mask, a softmax, a dropout.

    softmax(scale·q·kᵀ + mask)·v

`torch.nn.MultiheadAttention` arrives here too: its fast path takes plain tensors only.
"""

from __future__ import annotations

import inspect
import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from rbp_engine.spiking.carrier import Carrier
from rbp_engine.spiking.errors import UnsupportedOperation
from rbp_engine.spiking.rules.linear_rules import Arguments, Function, Keywords

_MULTI_HEAD = inspect.signature(F.multi_head_attention_forward)


def scaled_dot_product_attention(
    query: Any,
    key: Any,
    value: Any,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    *,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Any:
    """Attention of q, k, v [B, …, N, D]."""
    if enable_gqa:
        raise UnsupportedOperation("scaled_dot_product_attention", "enable_gqa: repeat keys and values for each query")
    if is_causal and attn_mask is not None:
        raise UnsupportedOperation(
            "scaled_dot_product_attention", "with attn_mask beside is_causal=True: give one mask that does both"
        )
    if is_causal:
        attn_mask = torch.ones(query.shape[-2], key.shape[-2], dtype=torch.bool, device=query.device).tril()
    if attn_mask is not None and attn_mask.dtype == torch.bool:
        attn_mask = torch.zeros_like(attn_mask, dtype=query.dtype).masked_fill(~attn_mask, -math.inf)
    out, _ = _attend(query, key, value, attn_mask, dropout_p, scale)
    return out


def multi_head_attention(carrier: Carrier, function: Function, args: Arguments, kwargs: Keywords) -> Any:
    """Output and weights for q, k, v [N, B, E], as `torch.nn.MultiheadAttention` hands them over."""
    bound = _MULTI_HEAD.bind(*args, **kwargs)
    bound.apply_defaults()
    given = bound.arguments
    for name in ("bias_k", "bias_v", "static_k", "static_v"):
        if given[name] is not None:
            raise UnsupportedOperation("multi_head_attention_forward", f"with {name}; leave it out")
    if given["add_zero_attn"] or carrier.ndim != 3:
        raise UnsupportedOperation(
            "multi_head_attention_forward", "with add_zero_attn, or of one sample; leave it out, give a batch"
        )
    heads, batch = given["num_heads"], given["query"].shape[1]
    query, key, value = (
        F.linear(x, weight, bias).unflatten(2, (heads, -1)).permute(1, 2, 0, 3)  # [B, heads, N, E/heads]
        for x, weight, bias in zip((given["query"], given["key"], given["value"]), *_projections(given), strict=True)
    )
    mask = _merged(given["attn_mask"], given["key_padding_mask"], batch, heads)
    out, weights = _attend(query, key, value, mask, given["dropout_p"] if given["training"] else 0.0, None)
    out = F.linear(out.permute(2, 0, 1, 3).flatten(2), given["out_proj_weight"], given["out_proj_bias"])
    if not given["need_weights"]:
        return out, None
    return out, weights.mean(1) if given["average_attn_weights"] else weights


def _projections(given: dict[str, Any]) -> tuple[list[Tensor], list[Tensor | None]]:
    """Weights and biases of queries, keys and values."""
    bias = given["in_proj_bias"]
    biases = [None, None, None] if bias is None else list(bias.chunk(3))
    if given["use_separate_proj_weight"]:
        return [given[f"{name}_proj_weight"] for name in "qkv"], biases
    return list(given["in_proj_weight"].chunk(3)), biases


def _merged(attention: Tensor | None, padding: Tensor | None, batch: int, heads: int) -> Tensor | None:
    """Both masks, which the module has made additive, for [B, heads, N, N]."""
    if attention is not None and attention.ndim == 3:
        attention = attention.unflatten(0, (batch, heads))
    if padding is None:
        return attention
    padding = padding[:, None, None, :]
    return padding if attention is None else attention + padding


def _attend(
    query: Any, key: Any, value: Any, mask: Tensor | None, dropout: float, scale: float | None
) -> tuple[Any, Any]:
    """The output, and the weights before dropout."""
    scores = query @ key.transpose(-2, -1) * (1 / math.sqrt(query.shape[-1]) if scale is None else scale)
    weights = torch.softmax(scores if mask is None else scores + mask, -1)
    return (F.dropout(weights, dropout) if dropout > 0.0 else weights) @ value, weights
