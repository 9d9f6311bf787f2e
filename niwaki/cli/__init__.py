"""The command line. Each module beside this one holds one group of commands."""

from __future__ import annotations

import errno
import os
import sys

import typer

from niwaki.cli import flying, policies, training
from niwaki.cli.console import USAGE, err
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
for module in (policies, flying, training):
    module.register(app)


def main() -> None:
    """Run the command line. Exit codes: 0 done, 1 a claim does not hold, 2 wrong use."""
    os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
    try:
        app()
    except NiwakiError as error:
        _stop(str(error))
    except OSError as error:
        what = "no space is left on the disk" if error.errno == errno.ENOSPC else (error.strerror or str(error))
        _stop(f"{error.filename}: {what}" if error.filename else what)
    except KeyboardInterrupt:
        err.print("stopped")
        sys.exit(130)


def _stop(message: str) -> None:
    err.print("niwaki:", style="bold red", end=" ")
    err.print(message, markup=False, soft_wrap=True)
    sys.exit(USAGE)
