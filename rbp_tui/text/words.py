"""Words of the field that screens and tables use, each in a sentence: the help panel of a screen shows its own."""

MEANINGS = {
    "rate_M": "rate-based backpropagation with the loop over the timesteps inside each layer",
    "rate_S": "rate-based backpropagation with that loop outside, over the whole network",
    "T": "the number of timesteps for which an input is shown",
    "T needed": "the smallest t whose accuracy is within 0.5 points of that after all T timesteps",
    "loss × 1/T": "the rate methods multiply the gradient by 1/T, as the paper does, so that SGD's steps are T times "
    "smaller than BPTT's; method.loss_scale=1 makes them equal",
    "t = 1": "beside a layer, its firing rate at the first timestep alone, as t = T at the last",
    "silent": "neurons that have not fired at any timestep, for any image of the batch",
    "saturated": "neurons that have fired at every timestep, for every image of the batch",
    "in window": "membranes so close to the threshold that the surrogate lets a gradient through",
    "g": "the eligibility, by which the rate methods multiply the gradient at a neuron; near 0 none gets below",
    "update/weight": "the size of a step by the size of the weights",
    "norm ratio": "the length of the gradient by that of BPTT's",
    "cosine": "1 if the gradient points where BPTT's does",
    "error": "what the rate methods neglect, how spikes and gradients vary together over time; 0 is none, 0.5 is much",
    "synaptic operation": "a spike that reaches a neuron",
    "AC": "an addition, as a synaptic operation takes, or a membrane or a bias",
    "MAC": "a multiplication with its addition, as numbers take that are no spikes",
    "b-bit ANN": "the same network with activations of b bits, which tell as many values apart as T timesteps",
    "Δ": "the difference to the baseline over the seeds that both have, ± its 95 % confidence interval",
}


def explained(*words: str) -> str:
    """These words with their meanings, as Markdown."""
    return "\n".join(f"* **{word}**: {MEANINGS[word]}." for word in words)
