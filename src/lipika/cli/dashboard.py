"""The command `dashboard`: `add_to` puts it on the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from lipika.cli.options import Run

err = Console(stderr=True, highlight=False)


def add_to(app: typer.Typer, run: Run) -> None:
    """Put the command on `app`; `run` is the command line's own."""

    @app.command()
    def dashboard(
        host: Annotated[
            str, typer.Option(help="Address to listen at; any but 127.0.0.1 needs a token (DASHBOARD_TOKEN).")
        ] = "127.0.0.1",
        port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0: any free one.")] = 8600,
        read_only: Annotated[
            bool, typer.Option("--read-only", help="Show everything, change nothing.")
        ] = False,
        name: Annotated[
            str,
            typer.Option(
                help="Your name beside what you change, where no token says it. Default: this machine's user.",
                show_default=False,
            ),
        ] = "",
        tls_cert: Annotated[
            Path | None, typer.Option(help="Certificate (PEM), to serve HTTPS.", show_default=False)
        ] = None,
        tls_key: Annotated[Path | None, typer.Option(help="Its key (PEM).", show_default=False)] = None,
        data_dir: Annotated[
            Path | None,
            typer.Option(
                "--data-dir", help="Folder of the embedded Postgres. Default: the user's state folder."
            ),
        ] = None,
    ) -> None:
        """The board in a browser: fleet, queue, quality, spend, clips, review, audit, datasets, errors; metrics.

        Example: lipika dashboard --read-only
        """
        from lipika.config import load_settings
        from lipika.dashboard.serve import Listen, proxies, run_board

        settings = load_settings(lipika_data_dir=data_dir)
        listen = Listen(host, port, tls_cert, tls_key, proxies(settings.dashboard_trusted_proxies))
        run(lambda: run_board(settings, listen, read_only=read_only, visitor=name, ready=_say))


def _say(url: str) -> None:
    err.print(f"The board is at {url} (Ctrl-C ends it)")
