"""`limbeck`: the verbs, and what becomes of their errors."""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import traceback
from types import FrameType
from typing import Annotated

import typer

from limbeck.cli import audit, check, cite, demo, doctor, export, listing, plan, report, run, show, table
from limbeck.errors import InputError, Interrupted, LimbeckError
from limbeck.version import __version__

app = typer.Typer(
    name="limbeck",
    help="Distillation in all its forms: recipes in, small models and the evidence out.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
app.command("run")(run.run)
app.command("check")(check.check)
app.command("plan")(plan.plan)
app.command("list")(listing.list_)
app.command("show")(show.show)
app.command("report")(report.report)
app.command("audit")(audit.audit)
app.command("table")(table.table)
app.command("export")(export.export)
app.command("cite")(cite.cite)
app.command("doctor")(doctor.doctor)
app.command("demo")(demo.demo)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"limbeck {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Say which.")
    ] = False,
) -> None:
    pass


_UsageError: type[Exception] = typer.BadParameter.__mro__[2]
"""Click's base of errors in the use of a command; newer releases of typer bring a click of their own."""


_STOPPED = 130


def main() -> None:
    """Run a verb.

    Exit code 0: done; 1: the work failed; 2: the input is wrong; 3: the outcome is not what a condition asked for;
    75: stopped, run it again.
    """
    signal.signal(signal.SIGTERM, _stop)
    # Torch's threads otherwise spin for long while they wait for each other: on a machine that does anything else
    # besides, a step of a small network then takes ten times as long. It has to be said before torch is imported.
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")
    try:
        code = app(standalone_mode=False)
        if code == _STOPPED:  # what typer makes of a signal, wherever it came
            raise KeyboardInterrupt
        sys.exit(code if isinstance(code, int) else 0)
    except typer.Exit as leave:
        sys.exit(leave.exit_code)
    except _UsageError as error:
        error.show()  # type: ignore[attr-defined]
        sys.exit(InputError.exit_code)
    except (KeyboardInterrupt, typer.Abort):
        _complain("stopped. What was finished is kept; the same command continues.")
        sys.exit(Interrupted.exit_code)
    except LimbeckError as error:
        _explain(error)
        sys.exit(error.exit_code)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the reader left; so do we, quietly
        sys.exit(0)
    except Exception as error:
        _apologise(error)
        sys.exit(1)


def _stop(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _explain(error: LimbeckError) -> None:
    if _debugging():
        traceback.print_exc()
    _complain(str(error))


def _apologise(error: Exception) -> None:
    """An error that nobody foresaw: one line, and the trace in a file for whoever mends it."""
    trace = traceback.format_exc()
    if _debugging():
        sys.stderr.write(trace)
    try:
        with tempfile.NamedTemporaryFile("w", prefix="limbeck-", suffix=".txt", delete=False) as file:
            file.write(trace)
        where = f" The trace is in {file.name}."
    except OSError:
        where = " Set LIMBECK_DEBUG=1 to see the trace."
    _complain(f"unexpected {type(error).__name__}: {error}.{where}")


def _complain(text: str) -> None:
    from limbeck.cli.console import ERR

    ERR.print("[bold red]limbeck:[/] ", end="")
    ERR.print(text, markup=False)


def _debugging() -> bool:
    return os.environ.get("LIMBECK_DEBUG", "") not in ("", "0")
