"""Lists without a line to show, because nothing was found or nothing is drawn yet."""

import asyncio

from textual.command import CommandList, DiscoveryHit, Hit, Provider
from textual.widgets import OptionList

KEYS = ("pageup", "pagedown", "ctrl+home", "ctrl+end", "home", "end", "up", "down", "enter")


class SlowProvider(Provider):
    """Yields one command at once and more as long as it is asked, as with thousands of runs."""

    async def discover(self):
        for number in range(1000):
            yield DiscoveryHit(f"Command {number}", lambda: None)
            await asyncio.sleep(0.05)

    async def search(self, query):
        async for hit in self.discover():
            yield Hit(1.0, hit.text, hit.command)


async def test_the_palette_survives_paging_before_its_commands_are_drawn(dashboard, until):
    dashboard.COMMANDS = {SlowProvider}
    async with dashboard.run_test(size=(80, 24)) as pilot:
        await pilot.press("ctrl+p")
        commands = dashboard.screen.query_one(CommandList)
        await until(pilot, lambda: commands.highlighted is not None)
        assert not commands.scrollable_content_region  # the palette draws commands only once it has all
        await pilot.press("pageup", "pagedown")
        await pilot.pause()
        assert dashboard.is_running and dashboard.screen.query_one(CommandList) is commands


async def test_the_palette_survives_every_key_when_nothing_is_found(dashboard, until):
    async with dashboard.run_test(size=(80, 24)) as pilot:
        await pilot.press("ctrl+p", *"no such command")
        commands = dashboard.screen.query_one(CommandList)
        await until(pilot, lambda: commands.option_count == 1 and commands.get_option_at_index(0).disabled)
        await pilot.press(*KEYS)
        await pilot.pause()
        assert dashboard.screen.query_one(CommandList) is commands
        await pilot.press("escape", "2")
        await until(pilot, lambda: dashboard.current_mode == "runs")


async def test_the_presets_survive_every_key_when_the_filter_hides_all(dashboard):
    async with dashboard.run_test(size=(80, 24)) as pilot:
        presets = dashboard.screen.query_one("#presets", OptionList)
        presets.filter("no such preset")
        presets.focus()
        await pilot.press(*KEYS)
        assert dashboard.is_running and dashboard.focused is presets
