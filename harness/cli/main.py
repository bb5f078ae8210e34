"""The `harness` command: its groups, and how every error becomes one message and an exit code."""

from __future__ import annotations

import signal
import sys
import traceback
from types import FrameType
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from harness import __version__
from harness.cli import ablate, bisect, compare, doctor, env, model, query, report, status, sweep
from harness.errors import EXIT_INTERRUPTED, EXIT_NOTHING_RAN, HarnessError

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Does my image model give the same answers, as fast, in every environment it may run "
    "in? And if not: what changed?\n\n"
    "Start with [bold]harness sweep[/bold]: no options needed.",
    epilog="Exit codes: 0 done · 1 differences beyond what --fail-on allows · 2 bad input · "
    "3 finished, but some cells failed, or an INVALID time left a rule undecided · 4 nothing could run, or a fault of harness itself · 130 interrupted.",
)
app.command("sweep")(sweep.command)
app.command("compare")(compare.command)
app.command("status")(status.command)
app.command("query")(query.command)
app.command("report")(report.command)
app.command("doctor")(doctor.command)
app.add_typer(ablate.app, name="ablate")
app.add_typer(bisect.app, name="bisect")
app.add_typer(env.app, name="env")
app.add_typer(model.app, name="model")


def _version(*, asked: bool) -> None:
    if asked:
        typer.echo(f"harness {__version__}")
        raise typer.Exit


@app.callback()
def _top(
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            callback=lambda v: _version(asked=v),
            is_eager=True,
            help="Print the version and exit.",
        ),
    ] = False,
) -> None:
    """Options of the command itself."""


class _Interrupted(BaseException):
    """A signal to stop. Typer would end the process itself, without a word, on Python's own."""


def _terminate(_number: int, _frame: FrameType | None) -> None:
    raise _Interrupted


def main() -> None:
    """Run the command line; the process ends with one of the documented exit codes."""
    signal.signal(signal.SIGINT, _terminate)
    signal.signal(signal.SIGTERM, _terminate)
    signal.signal(signal.SIGHUP, _terminate)
    # Whoever reads our output may leave early (`| head`): end then as other programs do, by the
    # signal, and not with a status that means something else here.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    console = Console(stderr=True)
    try:
        app()
    except HarnessError as error:
        console.print(Text.assemble(("Error: ", "bold red"), error.message), soft_wrap=True)
        if error.remedy:
            console.print(Text(f"  {error.remedy}"), soft_wrap=True)
        sys.exit(error.exit_code)
    except Exception:  # noqa: BLE001 - Python's own status, 1, means differences here
        traceback.print_exc()
        console.print(
            "This is a fault of harness itself. Finished cells are kept; please report the above."
        )
        sys.exit(EXIT_NOTHING_RAN)
    except _Interrupted:
        console.print(
            "Interrupted. What was finished is kept: the same command goes on from there."
        )
        sys.exit(EXIT_INTERRUPTED)


if __name__ == "__main__":
    main()
