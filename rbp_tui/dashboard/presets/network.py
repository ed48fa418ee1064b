"""The layers of a preset's network: counted on request, in a process of its own, and remembered."""

import asyncio
import threading
import time
from collections.abc import Callable

from rich.console import Group, RenderableType
from rich.table import Column, Table
from rich.text import Text
from textual import work
from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.message import Message
from textual.widgets import Static

from rbp_engine.bench.layers import Network, count_layers, same_network
from rbp_engine.errors import UserError
from rbp_engine.preset import LoadedPreset
from rbp_engine.preset.search import shared_presets_problem
from rbp_engine.printable import LONGEST_NAME, one_line
from rbp_tui.dashboard.screen_base import TYPING_PAUSE_S
from rbp_tui.text import format as fmt


class NetworkPane(VerticalScroll):
    """Shows the layers of a preset's network. There is never more than one process that counts."""

    class Counted(Message):
        """The layers of another network are known."""

    def __init__(self, *, id: str) -> None:  # noqa: A002
        super().__init__(id=id)
        self._known: dict[tuple[str, ...], Network] = {}
        self._one_at_a_time = asyncio.Lock()

    def compose(self) -> ComposeResult:
        yield Static(id="layers")

    def known(self, loaded: LoadedPreset | None) -> Network | None:
        """The layers of a preset's network, if they have been counted already."""
        return None if loaded is None else self._known.get(same_network(loaded))

    def show(self, loaded: LoadedPreset | None) -> None:
        """Show the layers of a preset's network, and count them first if they are not known."""
        self.leave()
        network = self.known(loaded)
        self._say("" if network is None else layer_table(network))
        if loaded is not None and network is None:
            self._count(loaded)

    def leave(self) -> None:
        """End a count in progress."""
        self.workers.cancel_group(self, "layers")

    def _say(self, content: RenderableType) -> None:
        self.query_one("#layers", Static).update(content)

    @work(exclusive=True, group="layers")
    async def _count(self, loaded: LoadedPreset) -> None:
        self._say(Text("counting layers…", style="dim"))
        await asyncio.sleep(TYPING_PAUSE_S)  # the cursor may only be passing over this preset
        async with self._one_at_a_time:
            begun, given_up = time.monotonic(), threading.Event()
            found = asyncio.create_task(asyncio.to_thread(_counted, loaded, given_up.is_set))
            try:
                while not found.done():
                    await asyncio.wait([found], timeout=1.0)
                    self._say(Text(f"counting layers… {fmt.duration(time.monotonic() - begun)}", style="dim"))
            finally:
                given_up.set()
                await asyncio.wait([found])  # its process has ended then
        network = found.result()
        if isinstance(network, str):
            self._say(Text(network, style="red"))
            return
        self._known[same_network(loaded)] = network
        self._say(layer_table(network))
        self.post_message(self.Counted())


def _counted(loaded: LoadedPreset, given_up: Callable[[], bool]) -> Network | str:
    """The layers, or the reason why they cannot be counted."""
    # To look at a preset must not execute what another user may have put beside it.
    if loaded.own_code and (problem := shared_presets_problem(str(loaded.path))):
        return f"not counted, since that executes its code: {problem}"
    try:
        return count_layers(loaded, cancelled=given_up)
    except UserError as error:
        return str(error)


def layer_table(network: Network) -> RenderableType:
    """The number of parameters, and below it a row for each layer."""
    head = Text.assemble(
        (f"{fmt.thousands(network.parameters)} parameters", "bold"),
        f" in {len(network.layers)} layers, for an image of {_shape(network.input)}",
    )
    numbers = [Column(name, justify="right", no_wrap=True, min_width=len(name)) for name in ("output", "parameters")]
    name = Column("layer", no_wrap=True, overflow="ellipsis")
    kind = Column("kind", no_wrap=True, overflow="ellipsis")
    table = Table(name, kind, *numbers, box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    for layer in network.layers:
        count = fmt.thousands(layer.parameters) if layer.parameters else ""
        words = (_name(layer.name), _name(layer.kind), _shape(layer.shape), count)
        table.add_row(*(Text(word, style="" if count else "dim") for word in words))
    return Group(head, Text(), table)


def _name(word: str) -> str:
    return one_line(word, LONGEST_NAME)


def _shape(sizes: tuple[int, ...]) -> str:
    return "×".join(map(str, sizes)) or "–"
