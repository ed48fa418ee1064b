"""What is said of a run that has ended: each rule speaks from its limit on."""

from dataclasses import replace

import numpy as np
import pytest

from rbp_engine.run.files.events import Event, Metrics, RunStart, Validation
from rbp_engine.run.history.curves import Curve
from rbp_engine.run.history.history import Attempt, History, HistoryBuilder, Mark, RankProgress
from rbp_engine.run.history.rules.alarm_rules import findings
from rbp_engine.run.history.rules.ended import improving, unfinished
from rbp_engine.run.history.samples import AccuracyHistory, Floats


def curve(values: Floats) -> Curve:
    step = 10.0 * np.arange(1, len(values) + 1)
    return Curve(step, step / 20, step, values)


def found_in(
    processes: int = 0, memory: int | None = None, epochs: int | None = None, **curves: list[float]
) -> list[str]:
    """The rules that speak of these curves; `__` in a name stands for its slash."""
    attempt = Attempt(1, Mark(0.0, 0), 0.0, RunStart(memory=memory, epochs=epochs))
    named = {name.replace("__", "/"): curve(np.array(values)) for name, values in curves.items()}
    ranks = tuple(map(RankProgress, range(processes)))
    return [found.rule for found in findings(History(curves=named, attempts=(attempt,), processes=ranks))]


@pytest.mark.parametrize(("wait", "said"), [(31.0, ["input"]), (29.0, [])])
def test_a_run_is_input_bound_if_in_its_second_half_data_take_30_percent_of_a_step(wait, said):
    waits = [100.0 - wait] * 6 + [wait] * 6
    assert found_in(step_ms=[500.0] * 6 + [100.0] * 6, data_ms=waits) == said


@pytest.mark.parametrize(("last", "said"), [(0.79, ["decline"]), (0.8, [])])
def test_an_accuracy_declines_if_it_loses_a_point_and_that_of_training_falls_as_well(last, said):
    scores = [0.5, 0.805, last, last, last]
    assert found_in(validation__top1=scores, train__top1=[0.9, 0.9, 0.9, 0.7, 0.7]) == said
    assert found_in(validation__top1=scores, train__top1=[0.5, 0.8, 0.9, 0.9, 0.9]) == []


@pytest.mark.parametrize(("seen", "loss", "said"), [(0.91, 0.61, ["overfit"]), (0.89, 0.61, []), (0.91, 0.59, [])])
def test_a_run_overfits_if_it_sees_10_points_more_and_the_loss_of_evaluations_has_risen_by_a_fifth(seen, loss, said):
    losses, training = [0.9, 0.5, loss, loss, loss], [0.5, 0.8, seen, seen, seen]
    assert found_in(validation__top1=[0.5, 0.8, 0.8, 0.8, 0.8], validation__loss=losses, train__top1=training) == said


@pytest.mark.parametrize(("best", "said"), [(5, ["no_progress"]), (6, [])])
def test_a_run_of_ten_evaluations_makes_no_progress_if_the_best_is_in_its_first_half(best, said):
    scores = [0.7] * 10
    scores[best - 1] = 0.705
    assert found_in(validation__top1=scores) == said
    assert found_in(validation__top1=[0.705] + [0.7] * 8) == found_in(epochs=9, validation__top1=scores) == []


@pytest.mark.parametrize(("peak", "said"), [(91.0, ["memory"]), (89.0, [])])
def test_the_memory_is_full_at_90_percent_of_what_there_is_in_any_process(peak, said):
    assert found_in(2, 100, mem_peak=[50.0], **{"mem_peak__1": [50.0, peak]}) == said


@pytest.mark.parametrize(("slow", "said"), [(16.0, ["ranks"]), (14.0, [])])
def test_a_process_is_named_that_waits_longer_than_the_others_by_15_percent_of_a_step(slow, said):
    waits = {"rank_data_ms": [1.0], "rank_data_ms__1": [slow], "rank_data_ms__2": [1.0]}
    assert found_in(3, step_ms=[100.0] * 9, **waits) == said
    even = {name: [values[0] + 40.0] for name, values in waits.items()}  # less than half as long again
    assert found_in(3, step_ms=[100.0] * 9, **even) == []


def evaluated(by_step: Floats) -> AccuracyHistory:
    """The accuracies after each timestep [evaluations, T], an evaluation at each epoch."""
    epochs = np.arange(1.0, 1.0 + len(by_step))
    return AccuracyHistory((), (), 23.0 * epochs, epochs, by_step)


@pytest.mark.parametrize(
    ("evaluations", "accuracy", "said"),
    [(3, 0.1, []), (3, 0.15, []), (3, 0.9, ["timesteps"]), (2, 0.3, []), (3, 0.3, ["timesteps"])],
)
def test_fewer_timesteps_are_not_advised_to_a_network_that_guesses_nor_after_an_epoch_or_two(
    evaluations, accuracy, said
):
    by_step = evaluated(np.full((evaluations, 4), accuracy))
    assert [found.rule for found in findings(History(accuracy=by_step, classes=10))] == said


def test_a_run_that_still_learns_needs_epochs_and_is_not_advised_fewer_timesteps() -> None:
    for last, rules in ((0.63, ["improving"]), (0.61, ["timesteps"])):
        scores = np.array([0.5, 0.6, last])
        curves = {"validation/top1": curve(scores)}
        found = findings(History(accuracy=evaluated(scores[:, None].repeat(4, 1)), curves=curves, classes=10))
        assert [finding.rule for finding in found] == rules


@pytest.mark.parametrize(("epochs", "advice"), [(1, "train it for longer (epochs=2)"), (9, "let it go on to its end")])
def test_a_run_that_still_learned_where_it_was_stopped_is_to_be_resumed_as_it_is(epochs: int, advice: str) -> None:
    attempt = Attempt(1, Mark(0.0, 0), 0.0, RunStart(epochs=epochs))
    [found] = findings(History(curves={"validation/top1": curve(np.array([0.5, 0.7]))}, attempts=(attempt,)))
    assert found.knob == advice


@pytest.mark.parametrize(
    ("trained", "said"), [(12, ["it had too few epochs"]), (11, 2 * ["it ended after 11 of 12 epochs"])]
)
def test_a_run_has_ended_after_its_last_epoch_also_where_another_program_has_not_evaluated_it(trained, said):
    builder = HistoryBuilder()
    bodies = [(0, RunStart(epochs=12)), (10, Metrics(1, 1.0, 0.5, 0.2)), (20, Validation(2, 1.0, 0.5, None, 9))]
    bodies += [(90, Validation(9, 1.0, 0.6, None, 9)), (10 * trained, Metrics(trained, 1.0, 0.6, 0.1))]
    builder.add(Event(0, 100.0 + step, 1, 0, step, body) for step, body in bodies)
    with np.errstate(all="ignore"):
        found = [*unfinished(builder.history()), *improving(builder.history())]
    assert len(found) == len(said)
    assert all(words in f"{one.what}; {one.cause}" for one, words in zip(found, said, strict=True))
    if trained == 11:
        assert found[0].what.endswith("at step 110 its learning rate was 50 % of its largest")


@pytest.mark.parametrize(("epochs", "last_lr", "told"), [(1, 0.1, True), (1, 0.05, False), (2, 0.1, False)])
def test_one_epoch_leaves_no_room_for_a_schedule_by_epoch(epochs: int, last_lr: float, told: bool) -> None:
    attempt = Attempt(1, Mark(0.0, 0), 0.0, RunStart(epochs=epochs))
    scores, lr = curve(np.array([0.5])), curve(np.array([0.1, last_lr]))
    scores = replace(scores, epoch=np.array([float(epochs)]))
    found = findings(History(curves={"validation/top1": scores, "lr": lr}, attempts=(attempt,)))
    assert ["schedule_by=step" in finding.knob for finding in found] == [True] * told


@pytest.mark.parametrize(
    ("by_step", "sentence"),
    [
        ([0.9, 0.9, 0.9, 0.9], "1 of its 4 timesteps gives an accuracy"),
        ([0.5, 0.9, 0.9, 0.9], "2 of its 4 timesteps give an accuracy"),
    ],
)
def test_how_many_timesteps_are_needed_is_said_in_a_sentence(by_step, sentence):
    [found] = findings(History(accuracy=evaluated(np.array(3 * [by_step])), classes=10))
    assert found.what.startswith(sentence)
