"""The keys of the dashboard are few enough to remember, and mean the same on every screen."""

from textual.dom import DOMNode

from rbp_tui.dashboard.app import Dashboard
from rbp_tui.dashboard.screen_base import DashboardScreen
from rbp_tui.dashboard.verbs import VERBS

MOST, MOST_OF_A_SCREEN, OF_RUNS = 100, 8, 12


def own_classes():
    """The screens and widgets of the dashboard."""
    found, waiting = set(), {DOMNode}
    while waiting:
        found |= waiting
        waiting = {child for node in waiting for child in node.__subclasses__()} - found
    return {node for node in found if node.__module__.startswith("rbp_tui.")}


def keys_of(nodes):
    """How many keys these classes define themselves; inherited ones, also hidden in the help, count where they are."""
    bindings = [binding for node in nodes for binding in node.__dict__.get("BINDINGS", ())]
    return sum(not getattr(binding, "system", False) for binding in bindings)


def test_there_are_at_most_a_hundred_keys():
    assert 0 < keys_of(own_classes()) <= MOST


def test_a_screen_adds_at_most_eight_to_those_that_all_screens_have():
    shared = set(DashboardScreen.__mro__)
    added = {name: keys_of(set(screen.__mro__) - shared) for name, screen in Dashboard.MODE_SCREENS.items()}
    assert max(added.values()) <= MOST_OF_A_SCREEN, added


def test_twelve_verbs_act_on_runs_and_no_key_has_two_meanings():
    assert sum(verb.may is not None or verb.name == "undo" for verb in VERBS) == OF_RUNS
    assert len({verb.key for verb in VERBS}) == len(VERBS)
