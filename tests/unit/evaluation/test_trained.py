"""What is found in a pass over the test set."""

import pytest
import torch

from rbp_engine.evaluation.trained import deviation, moments


def test_the_spread_of_inputs_is_that_of_all_batches_together():
    batches = [torch.rand(4, 3, 2, 5, 5), 3 * torch.rand(4, 2, 2, 5, 5)]
    together = torch.cat([batch.flatten() for batch in batches])
    assert deviation([moments(batch) for batch in batches]) == pytest.approx(
        together.std(correction=0).item(), rel=1e-5
    )
