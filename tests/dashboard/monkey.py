"""A monkey at the dashboard: keys, clicks, resizes and pastes at random, and watchers of what must not happen.

What it does is drawn beforehand, without looking at the screen, so that a list of events can be played again.
"""

import ast
import asyncio
import functools
import re
import string
import sys
import threading
import traceback
import unicodedata
from contextlib import contextmanager
from pathlib import Path

from textual import command, events
from textual.dom import DOMNode
from textual.geometry import Size
from textual.keys import _character_to_key

import rbp_engine
import rbp_tui
from rbp_tui.dashboard.app import Dashboard
from rbp_tui.dashboard.dialogs import Ask, Choice, Confirm
from rbp_tui.dashboard.presets.editor import EditorScreen
from rbp_tui.dashboard.presets.name_dialog import NamePreset

SIZES = ((20, 8), (220, 70))
MOUSE = ("click", "click", "click", "double", "down", "up", "move", "wheel_up", "wheel_down", "right")
#: Words that mean something in the fields of the dashboard.
WORDS = (
    "digits", "T=2", "method=bptt", "optim.lr<0.1", "status:failed", "acc>0.9", "'", "[", "[/b]", "\x1b[2J", "\x00",
    "\u202eabc", "\ud800", "漢字", "🐒", "e\u0301", "é" * 40, "+tag -tag", "[train]\nepochs = 2\n", "../../x", "\t",
    "\r\n", "%s", "{}", "$(x)", "*", "9" * 30, "-1", "nan", " ",
)  # fmt: skip
USUAL = (
    "up", "down", "left", "right", "enter", "escape", "tab", "shift+tab", "space", "1", "2", "3", "4", "5", "6",
    "escape", "escape", "enter",
)  # fmt: skip
OTHERS = (
    "home", "end", "pageup", "pagedown", "backspace", "delete", "insert", "shift+up", "shift+down", "shift+home",
    "ctrl+home", "ctrl+end", "alt+left", "shift+right", *(f"f{number}" for number in range(1, 13)),
    *(f"ctrl+{letter}" for letter in string.ascii_lowercase), "é", "漢", "🐒",
)  # fmt: skip
PATIENCE_S = 20.0
EVERYTHING = re.compile(r"except( \(?(Base)?Exception\b|:)")


def keys():
    """The keys of the dashboard's own bindings, and those of all other widgets and what can be typed."""
    ours, theirs = set(), set(OTHERS)
    waiting = [DOMNode]
    while waiting:
        node = waiting.pop()
        waiting += node.__subclasses__()
        for binding in node.__dict__.get("BINDINGS", ()):
            written = binding[0] if isinstance(binding, tuple) else binding.key
            (ours if node.__module__.startswith("rbp_tui.") else theirs).update(written.split(","))
    theirs.update(_character_to_key(one) for one in string.printable[:95])
    return sorted(ours), sorted(theirs - ours)


def draw_acts(draw, count):
    """What a monkey does: ("key", name), ("mouse", what, x, y) with parts of the screen from 0 to 1,
    ("resize", columns, rows), ("paste", text) or ("wait", seconds)."""
    ours, theirs = keys()
    acts = [("resize", *draw.choice([(80, 24), (120, 40), (200, 60)]))]
    while len(acts) < count:
        chance = draw.random()
        if chance < 0.72:
            key = draw.choice(draw.choice([ours, ours, USUAL, USUAL, theirs]))
            acts += [("key", key)] * draw.choice([1, 1, 1, 2, 5])
        elif chance < 0.90:
            acts.append(("mouse", draw.choice(MOUSE), round(draw.random(), 3), round(draw.random(), 3)))
        elif chance < 0.94:
            (narrow, low), (wide, high) = SIZES
            acts.append(("resize", draw.randint(narrow, wide), draw.randint(low, high)))
        elif chance < 0.99:
            acts.append(("paste", "".join(draw.choices(WORDS, k=draw.choice([1, 1, 3, 20])))))
        else:
            acts.append(("wait", 0.3))
    return acts[:count]


class Monkey:
    """Plays acts on dashboards over a runs directory, a new one whenever it has left the last.

    One that `answers` may confirm whatever is asked. Otherwise every question is answered with Escape, and nothing is
    saved in the editor.
    """

    def __init__(self, runs, faults, *, answers):
        """`faults` receives what must not happen, and is looked at after every act."""
        self.runs = runs
        self.faults = faults
        self.answers = answers
        self.done = 0

    async def play(self, acts):
        """Play the acts until a fault is found; `done` counts them."""
        asyncio.get_running_loop().set_exception_handler(lambda _, context: self.faults.append(f"loop: {context}"))
        while self.done < len(acts) and not self.faults:
            app = Dashboard(self.runs)
            try:
                async with app.run_test(size=(120, 40), notifications=True, tooltips=True) as pilot:
                    while self.done < len(acts) and app.is_running and not app._exit and not self.faults:
                        await self._act(pilot, acts[self.done])
                        self.done += 1
                    # Leave as `q` does: to be closed from outside in the middle of something is no fault of its own.
                    app.exit()
                    assert app._task is not None
                    await asyncio.wait([app._task], timeout=PATIENCE_S)
            except Exception:
                self.faults.append(traceback.format_exc())

    async def _act(self, pilot, act):
        if not self.answers:
            await self._refuse(pilot)
            if isinstance(pilot.app.screen, EditorScreen) and _may_save(act):
                return
        _deliver(pilot.app, act)
        if act[0] == "wait":
            await asyncio.sleep(act[1])
        await pilot._wait_for_screen(PATIENCE_S)
        if pilot.app.is_running and not pilot.app._exit:
            pilot.app.screen._on_timer_update()  # draws

    async def _refuse(self, pilot):
        """Answer the questions that are open with no, one over the other."""
        await pilot._wait_for_screen(PATIENCE_S)
        while isinstance(screen := pilot.app.screen, (Confirm, Ask, Choice, NamePreset)):
            if isinstance(screen, Confirm):
                await screen.dismiss(False)
            elif isinstance(screen, Choice) and "keep" in screen.answers:  # a draft; else the editor is never left
                await screen.dismiss("keep")
            else:
                await screen.dismiss(None)
            await pilot._wait_for_screen(PATIENCE_S)


def _may_save(act):
    return act[0] == "mouse" or act[:2] in (("key", "ctrl+s"), ("key", "ctrl+o"))


def _deliver(app, act):
    """Send what a terminal would."""
    driver = app._driver
    match act:
        case ("key", key):
            name = _character_to_key(key) if len(key) == 1 and not key.isalnum() else key
            driver.process_message(events.Key(name, _character(key)))
        case ("paste", text):
            driver.process_message(events.Paste(text))
        case ("resize", columns, rows):
            size = Size(columns, rows)
            driver._size = size
            app.post_message(events.Resize(size, size))
        case ("mouse", what, x, y):
            for event in _mouse(what, int(x * app.size.width), int(y * app.size.height)):
                driver.process_message(event)


def _character(key):
    if len(key) == 1:
        return key
    try:
        return unicodedata.lookup(key.replace("_", " ").upper())
    except KeyError:
        return {"enter": "\r", "space": " ", "tab": "\t", "full_stop": "."}.get(key)


def _mouse(what, x, y):
    def one(kind, button):
        return kind(None, x, y, 0, 0, button, False, False, False, x, y)

    press = [one(events.MouseMove, 0), one(events.MouseDown, 1), one(events.MouseUp, 1)]
    match what:
        case "click":
            return press
        case "double":
            return press + press[1:]
        case "right":
            return [one(events.MouseDown, 3), one(events.MouseUp, 3)]
        case "wheel_up" | "wheel_down":
            return [one(events.MouseScrollUp if what == "wheel_up" else events.MouseScrollDown, 0)] * 3
        case "down" | "up":
            return [one(events.MouseDown if what == "down" else events.MouseUp, 1)]
    return [one(events.MouseMove, 0)]


# --- exceptions that nobody would hear of -------------------------------------------------------------------------


@contextmanager
def swallowed(faults, *, everywhere):
    """Note every exception that a handler of everything (`except Exception`) takes and does not raise again.

    Of rbp, and of Textual's command palette, which logs what its providers raise. Handlers are found in the source, and
    watched by a trace function: no code is changed. That triples the time of the main thread, so it is left out unless
    `everywhere`; the dashboard's own handlers are in others.
    """
    handlers = _handlers_of_everything()
    watched = {}

    def lines_of(code):
        if code not in watched:
            watched[code] = handlers.get((code.co_filename, code.co_firstlineno))
        return watched[code]

    def look(frame, event, arg):
        if event == "exception":
            raised[frame] = arg
        elif event == "line" and frame in raised and frame.f_lineno in (watched[frame.f_code] or ()):
            faults.append("swallowed: " + "".join(traceback.format_exception(*raised.pop(frame))))
        elif event == "return":
            raised.pop(frame, None)
        return look

    def enter(frame, event, arg):
        return look if lines_of(frame.f_code) else None

    raised = {}
    before = sys.gettrace(), threading.gettrace(), threading.excepthook, sys.unraisablehook
    threading.settrace(enter)
    if everywhere:
        sys.settrace(enter)
    threading.excepthook = lambda args: faults.append(f"thread: {args.exc_type.__name__}: {args.exc_value}")
    sys.unraisablehook = lambda args: faults.append(f"unraisable: {args.exc_value!r} in {args.object!r}")
    try:
        yield
    finally:
        sys.settrace(before[0])
        threading.settrace(before[1])
        threading.excepthook, sys.unraisablehook = before[2:]


@functools.cache
def _handlers_of_everything():
    """The first lines of such handlers, by file and first line of the function."""
    found = {}
    sources = [path for package in (rbp_engine, rbp_tui) for path in Path(package.__path__[0]).rglob("*.py")]
    for path in (*sources, Path(command.__file__)):
        text = path.read_text()
        if not EVERYTHING.search(text):
            continue
        for function in ast.walk(ast.parse(text)):
            if isinstance(function, (ast.FunctionDef, ast.AsyncFunctionDef)):
                first = min([function.lineno, *(one.lineno for one in function.decorator_list)])
                for handler in ast.walk(function):
                    if isinstance(handler, ast.ExceptHandler) and _takes_everything(handler):
                        found.setdefault((str(path), first), set()).add(handler.body[0].lineno)
    return {place: frozenset(lines) for place, lines in found.items()}


def _takes_everything(handler):
    everything = handler.type is None or ast.unparse(handler.type) in ("Exception", "BaseException")
    return everything and not any(isinstance(one, ast.Raise) for one in ast.walk(handler))
