import json
from collections.abc import Callable

import pytest

from rbp_engine.run import control
from rbp_engine.run.cause import Cause
from rbp_engine.run.files.layout import RunDirectory
from rbp_engine.run.files.stop_request import LONGEST_REASON, StopRequest, read_stop_request
from rbp_engine.run.status.status import Verdict, judge
from rbp_engine.train.ranks.signals import ENDS, StopFlag

MakeRun = Callable[..., RunDirectory]


def test_a_worker_ends_with_the_cause_and_the_reason_of_the_request(make_run: MakeRun) -> None:
    run = make_run()
    flag = StopFlag(run)
    assert flag.level == 0
    control.request_stop(run, Cause.PRUNED, "worse than the median of 4 trials at epoch 3")
    flag = StopFlag(run)
    assert ENDS[flag.level] == "stopped"
    assert flag.why("stopped") == (Cause.PRUNED, "worse than the median of 4 trials at epoch 3")


@pytest.mark.parametrize("request_of", ["", "{}", "now", '{"cause": 3}', '{"cause": "chaos"}'])
def test_any_other_content_is_a_plain_stop(make_run: MakeRun, request_of: str) -> None:
    run = make_run()
    run.stop_request.write_text(request_of)
    assert StopFlag(run).why("stopped") == (Cause.REQUEST, "asked to stop")


def test_a_request_cannot_claim_a_failure(make_run: MakeRun) -> None:
    run = make_run()
    run.stop_request.write_text(json.dumps({"cause": "out_of_memory", "reason": "not so"}))
    assert read_stop_request(run) == StopRequest()
    with pytest.raises(ValueError, match="out_of_memory"):
        control.request_stop(run, Cause.OUT_OF_MEMORY)


def test_a_reason_is_bounded_and_on_one_line(make_run: MakeRun) -> None:
    run = make_run()
    run.stop_request.write_text(json.dumps({"cause": "pruned", "reason": "\x1b[2J\n" + "x" * 1000}))
    reason = read_stop_request(run).reason
    assert len(reason) == LONGEST_REASON
    assert reason.isprintable()


def test_the_first_request_stands(make_run: MakeRun) -> None:
    run = make_run()
    control.request_stop(run)
    control.request_stop(run, Cause.PRUNED, "later")
    assert read_stop_request(run) == StopRequest()


def test_a_queued_run_that_is_pruned_says_so(make_run: MakeRun) -> None:
    run = make_run(status="queued")
    control.request_stop(run, Cause.PRUNED, "others do better")
    assert judge(run) == Verdict("stopped", "others do better; taken out of the queue", Cause.PRUNED)
