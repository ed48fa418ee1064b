import math
import re
import warnings
from pathlib import Path

import pytest
from matplotlib import style
from matplotlib.legend import Legend

from rbp_engine.report import panels
from rbp_engine.report.collect import ReportedRun, collect
from rbp_engine.report.figure import STYLE, FigureView, compose, draw, write
from rbp_engine.report.panels import COLOURS, METHOD_COLOURS, Panel, PanelLine
from rbp_engine.report.seed_statistics import over_seeds
from rbp_engine.report.spread import Spread
from rbp_engine.run.errors import RunError
from rbp_engine.run.files.events import FiringRates, GradientFidelity, Metrics, RunStart, Validation
from rbp_engine.run.store.store import run_directories
from tests.run_files import tell

GIB = 2**30
# The others need samples of probes.
OF_EVERY_RUN = ("curves", "accuracy-vs-T", "cost")
MAGIC = {".pdf": b"%PDF", ".png": b"\x89PNG", ".svg": b"<?xml"}


def entries_of(runs: Path) -> list[ReportedRun]:
    return collect(run_directories(runs))[0]


def means(points: dict[int, Spread]) -> dict[int, float]:
    return {x: round(point.mean, 6) for x, point in points.items()}


def labels(panel: Panel) -> list[str]:
    return [line.label for line in panel.lines]


def test_curves_are_means_over_the_seeds_at_completed_epochs(finish_run, runs):
    finish_run("digits", "seed=1", curve=(0.5, 0.8, 0.7))
    finish_run("digits", "seed=2", curve=(0.7, 0.8, 0.9))
    ((top1, loss),) = panels.curves(entries_of(runs))
    assert (top1.ylabel, loss.ylabel, top1.xlabel) == ("Test top-1 (%)", "Training loss", "Epoch")
    assert labels(top1) == labels(loss) == ["rate_M, T=4"]
    assert means(top1.lines[0].points) == {1: 0.6, 2: 0.8, 3: 0.8}
    assert list(loss.lines[0].points) == [1, 2, 3]
    assert list(over_seeds([{1: 0.1, 2: 0.2, 3: 0.3}, {1: 0.1, 3: 0.2}])) == [1, 3]  # those that every seed has


def test_a_curve_with_a_held_out_split_shows_no_test_accuracy(finish_run, runs):
    finish_run("digits", "train.validation_split=0.1", curve=(0.5, 0.6), test={"last": 0.1, "best": 0.1})
    ((top1, _),) = panels.curves(entries_of(runs))
    assert top1.ylabel == "Held-out top-1 (%)"
    assert means(top1.lines[0].points) == {1: 0.5, 2: 0.6}


def test_a_curve_has_a_gap_where_a_power_loss_lost_events(finish_run, runs):
    """Epochs 3 and 4 of one seed are lost; the other seed has all of them."""
    run = finish_run("digits", "seed=1", curve=(0.5, 0.6))
    start = RunStart(resumed_from="step-00000040", steps_per_epoch=10, epoch=4, gap_from=20)
    tell(run, start, step=40, attempt=2)
    tell(run, Metrics(4, 0.1, 0.1, 0.1), Validation(5, 1.0, 0.9, 1.0, 360), step=50, attempt=2)
    finish_run("digits", "seed=2", curve=(0.5, 0.6, 0.7, 0.8, 0.9))
    for panel in panels.curves(entries_of(runs))[0]:
        points = panel.lines[0].points
        assert list(points) == [1, 2, 3, 4, 5]
        assert [epoch for epoch, point in points.items() if point.mean != point.mean] == [3, 4]


def test_accuracy_has_a_panel_for_each_network_and_a_line_for_each_method(finish_run, runs):
    for method in ("rate_m", "bptt"):
        for timesteps in (4, 2):
            finish_run("cifar10-resnet18", f"method={method}", f"T={timesteps}", curve=(0.9 + timesteps / 100,))
    finish_run("digits", curve=(0.9,))
    ((cifar, digits),) = panels.accuracy(entries_of(runs))
    assert cifar.ylabel == "CIFAR-10, ResNet-18\nTest top-1 (%)"
    assert labels(cifar) == ["BPTT", "rate_M"] and labels(digits) == ["rate_M"]
    assert [line.colour for line in cifar.lines] == [METHOD_COLOURS["bptt"], METHOD_COLOURS["rate_m"]]
    assert means(cifar.lines[0].points) == {2: 0.92, 4: 0.94}


def test_a_line_never_joins_cells_whose_other_settings_differ(finish_run, runs):
    for word, timesteps in (("lr=0.1", 2), ("lr=0.1", 4), ("lr=0.05", 4)):
        finish_run("digits", word, f"T={timesteps}")
    ((panel,),) = panels.accuracy(entries_of(runs))
    assert [(line.label, list(line.points)) for line in panel.lines] == [
        ("rate_M, optim.lr = 0.1", [2, 4]),
        ("rate_M, optim.lr = 0.05", [4]),
    ]
    assert len({(line.colour, line.number) for line in panel.lines}) == 2


def test_differences_to_the_control_have_a_dot_for_each_seed_and_a_band_as_wide_as_the_margin(finish_run, runs):
    for method, accuracies in (("bptt", (0.80, 0.82)), ("rate_m", (0.81, 0.85))):
        for seed, accuracy in enumerate(accuracies):
            finish_run("digits", f"method={method}", f"seed={seed}", curve=(accuracy,))
    ((panel,),) = panels.differences(entries_of(runs))
    assert labels(panel) == ["1: rate_M, T=4 against BPTT"]
    assert panel.lines[0].dots == pytest.approx((0.01, 0.03)) and means(panel.lines[0].points) == {1: 0.02}
    (axes,) = compose([[panel]], FigureView(margin=0.01)).axes
    assert [axes.collections[0].get_offsets()[:, 1].tolist()] == [pytest.approx([1.0, 3.0])]
    assert axes.patches[0].get_bbox().intervaly.tolist() == [-1.0, 1.0]


def test_runs_without_a_control_have_no_differences(finish_run, runs, tmp_path):
    finish_run("digits", "method=rate_m")
    with pytest.raises(RunError, match="no differences to draw"):
        draw("differences", entries_of(runs), tmp_path / "figure.svg")


def test_cost_is_the_peak_and_the_time_of_a_step_by_machine(finish_run, runs):
    for timesteps in (2, 4):
        finish_run("digits", f"T={timesteps}", "seed=1", peak=timesteps * GIB, step_s=0.01 * timesteps)
    finish_run("digits", "T=2", "seed=2", device="NVIDIA X (cuda:1)", step_s=0.001)
    ((memory, time),) = panels.costs(entries_of(runs))
    assert (memory.ylabel, time.ylabel) == ("Peak memory (GiB)", "Time per step (ms)")
    assert labels(memory) == ["rate_M, machine = NVIDIA X on here", "rate_M, machine = cpu on here"]
    assert [means(line.points) for line in memory.lines] == [{2: GIB}, {2: 2 * GIB, 4: 4 * GIB}]
    assert [means(line.points) for line in time.lines] == [{2: 1.0}, {2: 20.0, 4: 40.0}]


def test_each_figure_is_drawn_in_each_format_again_as_the_same_file_and_with_truetype_fonts(finish_run, runs, tmp_path):
    for seed in (1, 2):
        finish_run("digits", f"seed={seed}", "run.name=$x$", curve=(0.5, 0.7 + seed / 100))
    entries, drawn = entries_of(runs), []
    for kind, suffix in [*((kind, ".svg") for kind in OF_EVERY_RUN), ("curves", ".png"), *[("curves", ".pdf")] * 2]:
        path = tmp_path / f"{kind}{suffix}"
        draw(kind, entries, path)
        drawn.append(path.read_bytes())
        assert drawn[-1].startswith(MAGIC[suffix]), path.name
    assert drawn[-1] == drawn[-2]
    assert b"/Type3" not in drawn[-1] and re.search(rb"/FontFile2|/CIDFontType2", drawn[-1])


@pytest.mark.parametrize(
    ("name", "message"),
    [("figure.tiff", "must end in"), ("figure", "must end in"), ("nowhere/figure.pdf", "no folder"), (".", "end in")],
)
def test_a_path_that_cannot_be_drawn_to_is_refused(finish_run, runs, tmp_path, name, message):
    finish_run()
    with pytest.raises(RunError, match=message):
        draw("curves", entries_of(runs), tmp_path / name)


def test_runs_without_events_are_refused(finish_run, runs, tmp_path):
    finish_run().events().unlink()
    with pytest.raises(RunError, match="nothing was written"):
        draw("curves", entries_of(runs), tmp_path / "figure.pdf")
    assert not (tmp_path / "figure.pdf").exists()


def test_many_long_labels_fit_below_axes_that_keep_their_size(finish_run, runs):
    for network in ("convnet", "resnet18"):
        for number in range(8):
            name, args = ("atan", "neuron.surrogate_args.alpha") if number % 2 else ("sigmoid", "neuron.decay")
            finish_run("digits", f"arch={network}", f"neuron.surrogate={name}", f"{args}=0.{number + 1}", curve=(0.5,))
    for kind in OF_EVERY_RUN:
        with warnings.catch_warnings(), style.context(["default", STYLE]):
            warnings.simplefilter("error")
            figure = compose(panels.FIGURES[kind](entries_of(runs)))
            figure.draw_without_rendering()
        width, height = figure.get_size_inches() * figure.dpi
        rounding = 0.03 * figure.dpi
        legends = figure.findobj(Legend)
        boxes = [legend.get_window_extent() for legend in legends]
        assert legends and all(len(legend.get_texts()) == 8 for legend in legends), kind
        for box in [*boxes, *(axes.get_tightbbox() for axes in figure.axes)]:
            assert box.x0 >= -rounding and box.x1 <= width + rounding, kind
            assert box.y0 >= -rounding and box.y1 <= height + rounding, kind
        assert all(axes.get_window_extent().height > figure.dpi for axes in figure.axes), kind


@pytest.fixture
def probed(finish_run):
    """Two seeds with two samples of gradients, in the epochs 1 and 2, and one of firing rates at T = 4; 2 layers."""
    for seed in (1, 2):
        run = finish_run("digits", f"seed={seed}", "T=4")
        start = RunStart(steps_per_epoch=10, neuron_layers=["n1", "n2"], weight_layers=["w1", "w2"])
        tell(run, start, step=0, attempt=2)
        for step, cosine in ((5, 0.9), (20, 0.8)):
            tell(
                run,
                GradientFidelity(64, cosine, 1.0, [1.0, cosine], [1.0, 1.0], [0.1 * seed, 0.3], [None, 0.2]),
                FiringRates([[0.1, 0.2, 0.3, 0.4], [0.2 * seed] * 4], [0.0, 0.0], [0.0, 0.0]),
                step=step,
                attempt=2,
            )


@pytest.mark.usefixtures("probed")
def test_gradients_are_drawn_by_epoch_and_by_layer_with_the_errors_of_what_rate_methods_assume(runs, tmp_path):
    by_epoch, by_layer = panels.gradients(entries_of(runs))
    assert [panel.ylabel for panel in by_epoch] == ["Cosine to BPTT", "Error at neurons", "Error at weights"]
    found = [means(panel.lines[0].points) for panel in by_epoch]
    assert found == [{1: 0.9, 2: 0.8}, {1: 0.225, 2: 0.225}, {1: 0.2, 2: 0.2}]  # an unknown error is no 0
    cosine, neurons, weights = (panel.lines[0].points for panel in by_layer)
    assert means(cosine) == {1: 1.0, 2: 0.8} and means(neurons) == {1: 0.15, 2: 0.3}
    assert math.isnan(weights[1].mean) and weights[2].mean == 0.2
    for kind in ("gradients", "firing-rates"):
        draw(kind, entries_of(runs), tmp_path / "figure.svg")


@pytest.mark.usefixtures("probed")
def test_firing_rates_are_drawn_by_layer_with_a_line_for_each_timestep(runs):
    ((panel,),) = panels.firing_rates(entries_of(runs))
    assert (panel.xlabel, labels(panel)) == ("Layer", ["t = 1", "t = 2", "t = 3", "t = 4"])
    assert means(panel.lines[0].points) == {1: 0.1, 2: 0.3}
    assert means(panel.lines[3].points) == {1: 0.4, 2: 0.3}


@pytest.mark.parametrize("kind", ["gradients", "firing-rates"])
def test_runs_without_samples_of_probes_have_no_such_figure(finish_run, runs, tmp_path, kind):
    finish_run("digits")
    with pytest.raises(RunError, match=f"these runs have no {kind} to draw"):
        draw(kind, entries_of(runs), tmp_path / "figure.svg")
    assert not (tmp_path / "figure.svg").exists()


def test_an_image_too_tall_for_png_is_refused_in_a_sentence(tmp_path):
    lines = tuple(PanelLine("long words " * 4 + str(number), COLOURS[0], number, {}) for number in range(1200))
    with pytest.raises(RunError, match=r"a PNG has no room for 1200 lines .* write a \.pdf, or name fewer runs"):
        write([[Panel("Timesteps T", "top-1", 100.0, True, lines)]], tmp_path / "tall.png")


def test_a_legend_of_curves_leaves_out_what_all_lines_share(finish_run, runs):
    finish_run("digits", "lr=0.1")
    finish_run("digits", "lr=0.05")
    finish_run("cifar10-resnet18", "T=2")
    finish_run("cifar10-resnet18", "T=4")
    (cifar, _), (digits, _) = panels.curves(entries_of(runs))
    assert labels(cifar) == ["T=2", "T=4"]
    assert sorted(labels(digits)) == ["optim.lr = 0.05", "optim.lr = 0.1"]


def test_limits_are_those_of_the_first_panel_and_log_axes_leave_out_accuracies(finish_run, runs):
    finish_run("digits", curve=(0.5, 0.8, 0.9))
    top1, loss = compose(panels.curves(entries_of(runs)), FigureView(log_y=True, x_min=2, y_min=70, y_max=95)).axes
    assert (top1.get_yscale(), loss.get_yscale()) == ("linear", "log")
    assert top1.get_ylim() == (70, 95) and loss.get_ylim() != (70, 95)
    assert top1.get_xlim()[0] == loss.get_xlim()[0] == 2


def test_no_axis_of_accuracies_goes_beyond_all_of_them(finish_run, runs):
    finish_run("digits", curve=(0.5, 1.0))
    top1 = compose(panels.curves(entries_of(runs))).axes[0]
    assert 100 < top1.get_ylim()[1] <= 100.5


def test_a_curve_of_one_epoch_has_no_ticks_between_epochs(finish_run, runs):
    finish_run("digits", curve=(0.5,))
    top1 = compose(panels.curves(entries_of(runs))).axes[0]
    low, high = top1.get_xlim()
    assert [tick for tick in top1.get_xticks() if low <= tick <= high] == [1]


def test_the_deviation_of_a_single_epoch_is_drawn_as_a_bar(finish_run, runs):
    for seed, top1 in ((1, 0.5), (2, 0.7)):
        finish_run("digits", f"seed={seed}", curve=(top1,))
    axes = compose(panels.curves(entries_of(runs)), FigureView()).axes[0]
    [bar] = [segment for collection in axes.collections for segment in collection.get_segments()]
    assert bar[:, 1] == pytest.approx([60 - 14.142, 60 + 14.142], abs=0.01)


def test_lines_with_the_colour_of_another_have_markers_and_all_are_translucent(finish_run, runs):
    for number in range(9):
        finish_run("digits", f"lr={(number + 1) / 100}", curve=(0.5, 0.6))
    lines = compose(panels.curves(entries_of(runs))).axes[0].get_lines()
    assert [line.get_marker() != "" for line in lines] == [False] * 7 + [True] * 2
    assert all(line.get_alpha() < 1 for line in lines)
    assert len({(line.get_color(), line.get_linestyle()) for line in lines}) == 9
    assert {line.get_color() for line in lines} == set(COLOURS)


def test_no_two_single_points_have_one_colour_and_one_marker(finish_run, runs):
    for number in range(16):
        finish_run("digits", f"lr={(number + 1) / 100}", curve=(0.5,))
    points = compose(panels.accuracy(entries_of(runs))).axes[0].get_lines()
    assert len({(point.get_color(), point.get_marker()) for point in points}) == 16


@pytest.mark.parametrize(
    ("view", "message"),
    [
        ({"y_min": 9.0, "y_max": 3.0}, "the limits of y: 9 must be below 3"),
        ({"x_min": float("nan")}, "must be finite"),
        ({"x_min": 900.0}, "leave nothing to show"),
        ({"y_min": 0.0, "log_y": True}, "a log axis has no values of 0"),
    ],
)
def test_limits_that_show_nothing_are_refused(finish_run, runs, view, message):
    finish_run("digits")
    with pytest.raises(RunError, match=message):
        compose(panels.costs(entries_of(runs)), FigureView(**view))


def test_math_signs_in_names_are_drawn_literally(tmp_path):
    line = PanelLine(r"rate_M, model.name = $\frac{$", COLOURS[0], 0, {2: Spread(0.5, None, 1)})
    path = tmp_path / "signs.png"
    write([[Panel("Timesteps T", "$a$ (%)", 100.0, True, (line,))]], path)
    assert path.read_bytes().startswith(MAGIC[".png"])
