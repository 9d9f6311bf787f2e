"""The command line. Each module beside this one holds one group of commands."""

from __future__ import annotations

import errno
import os
import signal
import sys
from typing import Any, NoReturn

import typer

from niwaki.cli import (
    adapting,
    certifying,
    falsifying,
    flying,
    policies,
    pops,
    pruning,
    reporting,
    shipping,
    shrinking,
    sport,
    training,
)
from niwaki.cli.console import STOPPED, USAGE, err
from niwaki.types import NiwakiError

app = typer.Typer(
    name="niwaki",
    help="Shape a trained deep-RL policy into one you can ship: small, fast, safe, and certified.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)
GROUPS = (
    policies,
    flying,
    training,
    adapting,
    pruning,
    falsifying,
    certifying,
    shipping,
    shrinking,
    pops,
    sport,
    reporting,
)
for module in GROUPS:
    module.register(app)


UsageError: type[Exception] = typer.BadParameter.__mro__[1]  # the parser's own, wherever typer keeps it


def main() -> None:
    """Run the command line. Exit codes: 0 done, 1 a claim does not hold, 2 wrong use."""
    os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C: the worker processes end too
    try:
        code = app(standalone_mode=False)
    except NiwakiError as error:
        _stop(str(error))
    except UsageError as error:
        _stop_usage(error)
    except OSError as error:
        what = "no space is left on the disk" if error.errno == errno.ENOSPC else (error.strerror or str(error))
        _stop(f"{error.filename}: {what}" if error.filename else what)
    except (KeyboardInterrupt, typer.Abort):
        code = STOPPED
    if code == STOPPED:  # newer parsers return it
        err.print("stopped")
    sys.exit(code if isinstance(code, int) else 0)


def _stop(message: str) -> NoReturn:
    err.print("niwaki:", style="bold red", end=" ")
    err.print(message, soft_wrap=True)
    sys.exit(USAGE)


def _stop_usage(error: Any) -> NoReturn:
    """The parser's message in one line; without arguments, the help that it carries."""
    command = error.ctx.command_path if error.ctx else "niwaki"
    if len(sys.argv) == 1:
        error.ctx.get_help()  # prints it
        sys.exit(USAGE)
    _stop(f"{error.format_message().rstrip('.')} (see {command} --help)")
