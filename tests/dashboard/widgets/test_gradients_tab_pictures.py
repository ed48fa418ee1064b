"""Pictures of the tab "Gradients"."""

from rbp_engine.run.files.events import Event, GradientFidelity, RunStart
from rbp_engine.run.history.history import HistoryBuilder
from rbp_tui.dashboard.network.gradients import GradientsTab
from tests.dashboard.screen_pictures import at
from tests.dashboard.widgets.tab_picture import Picture, sight


def compared(layers, samples, status="completed"):
    """A run whose errors grow with depth and over training."""
    builder = HistoryBuilder()
    weights = [f"layer{number // 4 + 1}.{number // 2 % 2}.conv{number % 2 + 1}" for number in range(layers)]
    neurons = [name.replace("conv", "lif") for name in weights]
    start = RunStart(steps_per_epoch=10, epochs=5, epoch=0, weight_layers=weights, neuron_layers=neurons)
    builder.add([Event(0, 1.0, 1, 0, 0, start)])
    for number in range(1, samples + 1):
        errors = [0.7 * number / samples * (layer + 1) / layers for layer in range(layers)]
        cosines = [1.0 - error**2 / 2 for error in errors]
        ratios = [1.0 + 0.1 * error for error in errors]
        body = GradientFidelity(
            8, 1.0 - errors[-1] / 5, 1.0 + errors[0], cosines, ratios, [*errors], [*errors[1:], None]
        )
        builder.add([Event(number, 1.0, 1, 0, 5 * number, body)])
    return sight(builder, status)


@at("80x20")
def test_nothing_compared(same_picture, size):
    same_picture(Picture(GradientsTab(), compared(5, 0, "running")), size)


@at("80x20")
def test_five_layers_with_a_layer_of_weights_selected(same_picture, size):
    same_picture(Picture(GradientsTab(), compared(5, 8)), size, keys=["down", "down", "down"])


@at("160x41")
def test_sixty_layers_at_an_earlier_step_with_neurons_selected(same_picture, size):
    same_picture(Picture(GradientsTab(), compared(60, 8), step=20.0), size, keys=["end"])


async def test_more_samples_and_another_step_are_drawn_and_the_selection_stays():
    app = Picture(GradientsTab(), compared(5, 8))
    async with app.run_test(size=(120, 40)) as pilot:
        tab = app.screen.query_one(GradientsTab)
        await pilot.press("down", "down")
        table, chart = app.screen.query_one("LayerTable"), app.screen.query_one("CurveChart")
        newest = table.get_row_at(2)[4]
        tab.show(app.sight, 20.0)
        assert table.get_row_at(2)[4] != newest and table.selected == 2
        tab.show(compared(5, 9), None)
        assert len(chart.series[0].x) == 9 and table.selected == 2
        assert tab.steps(app.sight).tolist() == [5.0 * number for number in range(1, 9)]
        tab.show(compared(5, 0), None)
        assert tab.has_class("-nothing")
