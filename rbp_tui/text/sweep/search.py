"""A search in words: what it chooses from, and what it looks for."""

from rbp_engine.plan.search import Search
from rbp_engine.preset.own_code import inside_a_run
from rbp_engine.preset.sweep.section import Varied
from rbp_tui.text import format as fmt
from rbp_tui.text.run_columns import setting_heading

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
