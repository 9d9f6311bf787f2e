"""niwaki report: one page about a run."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from niwaki.cli.console import JsonOption, out, print_json, stages, writable


def register(app: typer.Typer) -> None:
    app.command("report")(report)


def report(
    folder: Annotated[
        Path,
        typer.Argument(
            metavar="DIR", help="The folder that ship, shrink, adapt, sport or validate wrote.", show_default=False
        ),
    ],
    output: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="FILE", help="Where to write it. Default: DIR/report.html.")
    ] = None,
    episodes: Annotated[
        int, typer.Option("--episodes", "-n", help="Starts that teacher and policy fly for the pictures.")
    ] = 200,
    as_json: JsonOption = False,
) -> None:
    """Write the report of a run of ship, shrink, adapt, sport or validate: one HTML file that needs no network.

    After ship and shrink it shows what was shipped, what is claimed and what is not, the way from dense to sparse, how
    well policies of every size do, the weights, the hardest flights, the starts that fail, and how it was made. After
    adapt and sport: what was promised and what was seen, paths and action ellipses. The flights in it are its own:
    they back no claim.

    Example: niwaki report demo
    """
    from niwaki.reporting.report import write_report

    start = time.perf_counter()
    writable(output)
    with stages() as progress:
        path = write_report(folder, output, episodes=episodes, progress=progress)
    facts = {
        "file": str(path),
        "bytes": path.stat().st_size,
        "seconds": round(time.perf_counter() - start, 3),
    }
    if as_json:
        print_json(facts)
        return
    out.print(f"{facts['file']}  ({facts['bytes']:,} bytes)", soft_wrap=True)
