import numpy as np

from rbp_engine.run.files.events import System
from rbp_engine.run.status.curves import Curve
from rbp_engine.run.status.history import RankProgress
from rbp_tui.dashboard.monitor.gauges import memory_text
from rbp_tui.text.format import BLOCKS


def line(seconds: list[float], values: list[float]) -> str:
    x = np.array(seconds)
    process = RankProgress(0, system=System(rss=1, mem_peak=1))
    text = memory_text({"memory": Curve(x, x, x, np.array(values))}, [process], None, 10).plain
    return text[text.index("memory ") + len("memory ") :][:10]


def test_lines_over_the_same_time_are_equally_long_however_many_points_they_have() -> None:
    assert line([0.0, 100.0], [1.0, 2.0]) == 9 * BLOCKS[4] + BLOCKS[-1]
    assert line([float(place) for place in range(101)], list(range(101)))[::9] == BLOCKS[0] + BLOCKS[-1]
    assert set(line([float(place) for place in range(101)], [5.0] * 101)) == {BLOCKS[-1]}


def test_before_the_first_value_a_line_is_blank_and_where_values_are_missing_it_goes_on() -> None:
    assert line([50.0, 100.0], [1.0, 2.0]) == 4 * " " + 5 * BLOCKS[4] + BLOCKS[-1]
    assert line([10.0, 20.0, 60.0, 100.0], [1.0, np.nan, 1.0, 2.0])[1:5] == 4 * BLOCKS[4]
