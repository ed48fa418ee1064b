"""Sweeps and searches in words: what they try, how many runs that is, how these stand, and what the rest takes."""

from collections.abc import Iterable, Sequence

from rich.text import Text

from rbp_engine.plan.estimate import Estimate
from rbp_engine.plan.points import SweepPlan
from rbp_engine.plan.search import Search
from rbp_engine.plan.states import PointState, Standing, counts
from rbp_engine.preset.own_code import inside_a_run
from rbp_engine.preset.sweep.section import Varied
from rbp_engine.printable import one_line
from rbp_engine.report.sweep_table import SweepRow
from rbp_tui.text import format as fmt
from rbp_tui.text.comparison_columns import spread_text
from rbp_tui.text.run_columns import setting_heading, shortened
from rbp_tui.text.run_text import SIGNS, STYLES
from rbp_tui.text.text_table import TextColumn, column

WIDEST_VALUE = 24

NOT_HELD_OUT = (
    "there is no held-out split: the search chooses by the test set, so its best result there is too good to be "
    "reported; train.validation_split=0.1 holds data out"
)


def search_text(search: Search) -> str:
    """How long it is, as `20 trials with seed 1, pruned by median`."""
    pruner = f", pruned by {search.space.pruner}" if search.space.pruner else ""
    return f"{fmt.counted(search.trials, 'trial')} with seed {search.seed}{pruner}"


def objective_text(search: Search) -> str:
    """What it looks for, and on which data."""
    return f"looks for the highest top-1 of the last epoch, on {chosen_by(search)}"


def chosen_by(search: Search) -> str:
    """The data by which it chooses."""
    return "held-out data" if search.held_out else "the test set"


def range_text(setting: Varied) -> str:
    """As `lr: 0.01 to 0.5, by its logarithm`."""
    name = setting_heading(setting.key)
    if setting.values:
        return f"{name}: {', '.join(map(inside_a_run, setting.values))}"
    low, high = (setting.word_of(end).partition("=")[2] for end in (setting.low, setting.high))
    return f"{name}: {low} to {high}{', whole numbers' if setting.whole else ''}{', by its logarithm' * setting.log}"


def runs_text(row: SweepRow) -> Text:
    """The runs of a row by status, each with its sign, as `■2 ▶1 47/100`; without colours the signs are enough."""
    statuses = [state.record.verdict.shown_status if state.record else "" for state in row.states]
    there = [status for status in SIGNS if status in statuses]
    parts = [Text(f"{SIGNS[status]}{statuses.count(status)}", STYLES[status]) for status in there]
    text = Text(" ").join(parts)
    if missing := statuses.count(""):
        text.append(f"{' ' if parts else ''}·{missing}", "dim")
    training = [record.summary for record in row.records if record.verdict.status in ("running", "stalled")]
    if training:
        text.append(f" {', '.join(f'{one.epoch}/{one.epochs}' for one in training)}", "dim")
    return text


def sweep_columns(rows: Sequence[SweepRow], keys: Iterable[str], best: int | None) -> list[TextColumn]:
    """The number of each trial, its settings by `keys`, what it has reached, and its runs; the `best` trial stands out.

    A long value loses its middle.
    """
    styles = ["bold" if row.trial == best and len(rows) > 1 else "" for row in rows]

    def right(heading: str, texts: Iterable[str], styles: Iterable[str] = styles) -> TextColumn:
        return column(heading, [Text(*one) for one in zip(texts, styles, strict=True)], right=True)

    def values(key: str) -> TextColumn:
        texts = (one_line(inside_a_run(row.values.get(key, ""))) or "–" for row in rows)
        return right(setting_heading(key), [shortened(text, WIDEST_VALUE, middle=True) for text in texts])

    return [
        right("#", [str(row.trial) for row in rows], ["dim"] * len(rows)),
        *map(values, keys),
        right("last %", [spread_text(row.last) for row in rows]),
        right("best %", [spread_text(row.best) for row in rows]),
        column("runs", list(map(runs_text, rows))),
    ]


def row_words(row: SweepRow) -> list[str]:
    """The settings of a row, as `T=4`."""
    return [f"{setting_heading(key)}={inside_a_run(value)}" for key, value in row.values.items() if value]


def legend(rows: Sequence[SweepRow]) -> list[str]:
    """The signs in the table, each with what it means."""
    there = {record.verdict.shown_status for row in rows for record in row.records}
    signs = [f"{sign} {status}" for status, sign in SIGNS.items() if status in there]
    missing = any(state.record is None for row in rows for state in row.states)
    several = any(row.last is not None and row.last.std is not None for row in rows)
    return [*signs, *(["· not there yet"] if missing else []), *(["± standard deviation"] if several else [])]


def plan_text(plan: SweepPlan) -> str:
    """How many runs there are, as `12 runs: 6 combinations of method, T × seeds 1, 2`."""
    seeds = list(dict.fromkeys(point.seed for point in plan.points))
    keys = ", ".join(map(setting_heading, plan.keys))
    of = f"{fmt.counted(len(plan.trials), 'combination')} of {keys}" if keys else "the preset"
    with_seeds = f"{'seed' if len(seeds) == 1 else 'seeds'} {', '.join(map(str, seeds))}"
    return f"{fmt.counted(len(plan.points), 'run')}: {of} × {with_seeds}"


def standings_text(states: Sequence[PointState]) -> str:
    """How the runs stand, as `4 done, 1 live, 2 queued, 8 to be created`."""
    words = [
        "queued" if one.record is not None and one.record.verdict.status == "queued" else str(one.standing)
        for one in states
    ]
    done, live, *others = Standing
    return ", ".join(f"{words.count(word)} {word}" for word in (done, live, "queued", *others) if word in words)


def failed_count(states: Sequence[PointState]) -> int:
    """How many runs have failed."""
    return counts(states)[Standing.FAILED]


def cost_text_of(expected: Estimate, *, at_most: bool = False) -> list[str]:
    """What the rest takes, and how that is known, in one line or two; `at_most` if runs may be pruned."""
    at_a_time = f"{expected.slots} at a time" if expected.slots > 1 else "one after the other"
    memory = "" if expected.memory is None else f", up to about {fmt.size(expected.memory)} each"
    first = (
        f"{'at most' if at_most else 'about'} {fmt.duration(expected.seconds)}, {at_a_time} "
        f"({fmt.duration(expected.device_s)} of devices){memory}; "
        f"known from {' and '.join(expected.origins)}"
    )
    return [first, *([f"not known of {fmt.counted(expected.unknown, 'run')}"] if expected.unknown else [])]
