"""The command line: `rbp`. One module per group of commands; each imports what it needs when it is called."""

import contextlib
import errno
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from rbp_engine.errors import UserError
from rbp_engine.printable import LONGEST_TEXT, visible
from rbp_engine.settings.machine import find_host, runs_directory
from rbp_tui.cli import data, doctor, export, paper, report
from rbp_tui.cli.command_group import USAGE_ERROR, CommandGroup, Typer
from rbp_tui.cli.measure import bench, cost, evaluate, try_network
from rbp_tui.cli.options import MORE, RootRunsDir
from rbp_tui.cli.output import fail, prepare_streams
from rbp_tui.cli.presets import commands
from rbp_tui.cli.runs import daily, group, importing, ls, queue, show
from rbp_tui.cli.sweep import command as sweep_command
from rbp_tui.cli.train import command


class Commands(CommandGroup):
    """The commands; the message about a missing argument explains it, and what was typed is printable in messages."""

    def make_context(self, *words: Any, **options: Any) -> Any:
        with _printable_usage():
            return super().make_context(*words, **options)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The command; with --host it is not looked for here, but run there."""
        if ctx.params.get("host") and not ctx.resilient_parsing:
            _do_there(ctx.params["host"], args, ctx.params["runs_dir"])
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        with _printable_usage():
            return super().invoke(ctx)


def _do_there(name: str, words: list[str], runs: Path | None) -> NoReturn:
    """Have the rbp of another host run a command in this terminal, through the user's own ssh, as `ssh -t` does.

    The exit code is that of the command, 255 if ssh fails.
    """
    import subprocess

    from rbp_tui.hosts.ssh import NOT_FOUND, problem, remote_command

    host = find_host(name)
    terminal = "-t" if sys.stdin.isatty() and sys.stdout.isatty() else "-T"
    try:
        code = subprocess.call(["ssh", terminal, "--", host.ssh, remote_command(host, words, str(runs or ""))])
    except OSError as error:
        raise UserError(f"cannot run ssh, which reaches {host.name}: {error.strerror}") from error
    raise typer.Exit(fail(problem(host, code, ""), code) if code == NOT_FOUND else code)


@contextlib.contextmanager
def _printable_usage() -> Iterator[None]:
    try:
        yield
    except USAGE_ERROR as error:
        explanation = getattr(getattr(error, "param", None), "help", None)  # a missing argument has no message
        error.message = visible(error.message or explanation or "", LONGEST_TEXT)
        raise


app = Typer(
    name="rbp",
    cls=Commands,
    help="Train deep spiking networks by rate-based backpropagation.",
    epilog="Begin with: rbp train digits   ·   rbp alone opens the dashboard",
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help", "--help-all"]},
)
for module in (
    command, sweep_command, try_network, cost, daily, queue, ls, show, report, paper, evaluate, bench,
    group, export, importing, commands, data, doctor,
):  # fmt: skip
    module.register(app)


@app.callback(invoke_without_command=True)
def root(
    context: typer.Context,
    version: bool = typer.Option(False, "--version", help="Print the version and exit.", is_eager=True),
    host: Annotated[
        str | None,
        typer.Option(
            metavar="HOST",
            rich_help_panel=MORE,
            help="Have the rbp of another machine do it, through ssh -t: rbp --host box ls.",
            show_default=False,
        ),
    ] = None,
    runs_dir: RootRunsDir = None,
) -> None:
    if version:
        from importlib.metadata import version as installed

        typer.echo(f"rbp {installed('rbp-tui')}")
        raise typer.Exit
    if context.invoked_subcommand is not None:
        return
    if host:
        _do_there(host, [], runs_dir)
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        typer.echo(context.get_help())
        raise typer.Exit
    from rbp_tui.dashboard.app import main as dashboard

    Path.cwd()  # the presets beside it are read in threads, where a folder that is gone would be a crash

    raise typer.Exit(dashboard(runs_directory(runs_dir)))


def main() -> None:
    """Run a command. Errors that the user can fix end with one message and an exit code; only bugs show a traceback.

    Exit codes: 0 done, 1 the run failed, 2 usage or preset, 3 data missing or damaged, 4 stopped before the end,
    5 preempted: start it again.
    """
    prepare_streams()
    try:
        try:
            app(prog_name="rbp")
        finally:
            sys.stdout.flush()
    except UserError as error:
        sys.exit(fail(str(error), error.exit_code))
    except BrokenPipeError:  # the reader of a pipe (`rbp ls | head`) has left
        sys.exit(0)
    except OSError as error:
        gone = error.errno == errno.ENOENT and error.filename is None  # as os.getcwd raises it
        if error.errno != errno.ENAMETOOLONG and not gone:
            raise  # else no file of such a name can be there, whatever the command wants of it
        sys.exit(
            fail(
                "the current folder is gone: go to another" if gone else f"{error.strerror}: {error.filename}",
                UserError.exit_code,
            )
        )
    except KeyboardInterrupt:
        sys.exit(130)
