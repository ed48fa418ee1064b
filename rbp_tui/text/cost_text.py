"""The predicted cost of a preset in words."""

from rbp_engine.bench.cost import Cost
from rbp_engine.preset import LoadedPreset
from rbp_tui.text import format as fmt


def cost_title(loaded: LoadedPreset, cost: Cost) -> str:
    """What was measured, as `digits · convnet · rate_M · T=4 · B=64 · cpu`."""
    preset = loaded.preset
    method = fmt.method(preset.method.name)
    return f"{loaded.name} · {preset.model.name} · {method} · T={cost.timesteps} · B={cost.batch} · {cost.device}"


def cost_lines(cost: Cost) -> list[tuple[str, str]]:
    """The lines of a cost: label and text."""
    epoch = f"{cost.steps_per_epoch} steps, evaluation {span(cost.evaluation_s)}, checkpoint {span(cost.end_s)}"
    ends = f"until {cost.ended_by} ends it" if cost.ended_by else f"for {fmt.counted(cost.epochs, 'epoch')}"
    return [
        ("memory", f"about {fmt.size(cost.memory)} of {fmt.size(cost.memory_limit)}"),
        ("step", f"{span(cost.step_s)}, of which data take {span(cost.data_s)}"),
        ("epoch", f"{span(cost.epoch_s)}: {epoch}"),
        ("in all", f"{span(cost.total_s)} {ends}, including {span(cost.startup_s)} to start"),
        ("measured", "; ".join([cost.measured, *cost.notes])),
    ]


def what_fits(cost: Cost) -> str:
    """What would fit, as `T = 8 does not fit: 6 does, or a batch of 96`; empty if the preset fits."""
    if cost.fits:
        return ""
    ways = [
        way
        for largest, way in (
            (cost.largest_timesteps, f"T = {cost.largest_timesteps} does"),
            (cost.largest_batch, f"a batch of {cost.largest_batch} does"),
        )
        if largest
    ]
    remedy = ", or ".join(ways) or "not even one image does; a smaller network or another device is needed"
    return (
        f"T = {cost.timesteps} with a batch of {cost.batch} does not fit into {fmt.size(cost.memory_limit)}: {remedy}"
    )


def span(seconds: float) -> str:
    """A short or long time: `4.2 ms`, `310 ms`, `2.4 s`, `42s`, `3m07`."""
    if seconds < 0.01:
        return f"{1000 * seconds:.1f} ms"
    if seconds < 1:
        return f"{1000 * seconds:.0f} ms"
    return f"{seconds:.1f} s" if seconds < 10 else fmt.duration(seconds)
