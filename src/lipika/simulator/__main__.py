"""`python -m lipika.simulator`: serve until interrupted; one JSON line on stdout tells where."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import orjson
import uvloop

from lipika.errors import UsageError
from lipika.processes import stop_signals
from lipika.simulator.config import Caching, FlexQueue, Latency, Quotas, SimulatorConfig, read, read_json
from lipika.simulator.faults import FaultPlan, read_toml
from lipika.simulator.server import Listening, serve


def main(argv: Sequence[str] | None = None, prog: str = "python -m lipika.simulator") -> int:
    """Run the server; 2 when an option or a file will not do. `prog` is the name it was called by."""
    options = _parser(prog).parse_args(argv)
    try:
        if options.config_from_stdin:
            config = read_json(SimulatorConfig, sys.stdin.readline(), "configuration on standard input")
        else:
            config = _config(options)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_serve_until_stopped(config, parent_at_stdin=options.config_from_stdin))
    except UsageError as error:
        if options.config_from_stdin:
            _tell_parent({"error": str(error)})
        else:
            print(error, file=sys.stderr)  # noqa: T201 - a command's own output
        return 2
    return 0


def _parser(prog: str = "python -m lipika.simulator") -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=prog, description=(__doc__ or "").replace("python -m lipika.simulator", prog)
    )
    config = SimulatorConfig()
    parser.add_argument("--host", default=config.host)
    parser.add_argument("--port", type=_port, default=config.port, help="0 = any free one")
    parser.add_argument("--seed", type=int, default=config.seed)
    parser.add_argument("--light", action="store_true", help="least CPU: no audio is decoded")
    parser.add_argument("--key", action="append", default=[], help="accepted API key, or key=project")
    parser.add_argument("--model", action="append", default=[], help="model served besides the usual ones")
    parser.add_argument("--latency", type=float, default=config.latency.median_s, help="median, seconds")
    parser.add_argument("--latency-sigma", type=float, default=config.latency.sigma)
    parser.add_argument("--latency-per-token", type=float, default=config.latency.per_output_token_s)
    parser.add_argument("--rpm", type=int, help="requests per minute, per project and model")
    parser.add_argument("--tpm", type=int, help="input tokens per minute")
    parser.add_argument("--rpd", type=int, help="requests per day")
    parser.add_argument("--qps", type=int, help="requests per second")
    parser.add_argument("--in-flight", type=int, help="more at once are answered 503")
    parser.add_argument("--spend", type=float, help="USD per 10 minutes")
    parser.add_argument("--credit", type=float, help="USD in all")
    parser.add_argument("--cache-min-tokens", type=int, help="least prefix an implicit cache takes")
    parser.add_argument(
        "--flex-scale",
        type=float,
        default=config.flex.scale,
        help="of the minutes that requests at Flex wait",
    )
    parser.add_argument(
        "--flex-shed", type=float, default=config.flex.shed, help="share that is answered 503"
    )
    parser.add_argument("--faults", type=Path, help="fault plan, TOML")
    parser.add_argument("--tls-cert", type=Path)
    parser.add_argument("--tls-key", type=Path)
    parser.add_argument("--request-log", type=Path, help="write one JSON line per request to this file")
    parser.add_argument("--config-from-stdin", action="store_true", help=argparse.SUPPRESS)
    return parser


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text} is no port: 0 to 65535")
    return int(text)


def _config(options: argparse.Namespace) -> SimulatorConfig:
    plan = FaultPlan()
    if options.faults:
        plan = read(FaultPlan, read_toml(options.faults), str(options.faults))
    return SimulatorConfig(
        host=options.host,
        port=options.port,
        seed=options.seed,
        light=options.light,
        latency=Latency(options.latency, options.latency_sigma, options.latency_per_token),
        quotas=Quotas(
            rpm=options.rpm,
            tpm=options.tpm,
            rpd=options.rpd,
            qps=options.qps,
            in_flight=options.in_flight,
            spend_usd=options.spend,
            credit_usd=options.credit,
        ),
        caching=Caching(min_tokens=options.cache_min_tokens),
        flex=FlexQueue(scale=options.flex_scale, shed=options.flex_shed),
        faults=plan,
        keys=tuple(options.key),
        models=tuple(options.model),
        tls_cert=options.tls_cert,
        tls_key=options.tls_key,
        request_log=options.request_log,
    )


async def _serve_until_stopped(config: SimulatorConfig, *, parent_at_stdin: bool) -> None:
    """Serve until SIGINT, SIGTERM or, as a child, the end of standard input."""
    told = asyncio.Event()
    if parent_at_stdin:
        asyncio.get_running_loop().add_reader(sys.stdin.fileno(), _on_stdin, told)
    with stop_signals(told.set, told.set):
        await _serve_until(told, config)


async def _serve_until(told: asyncio.Event, config: SimulatorConfig) -> None:
    serving = asyncio.create_task(serve(config, _announce))
    waiting = asyncio.create_task(told.wait())
    await asyncio.wait((serving, waiting), return_when=asyncio.FIRST_COMPLETED)
    if serving.done():
        waiting.cancel()
        await serving  # it failed: say why
    serving.cancel()
    await asyncio.wait((serving,))


def _on_stdin(told: asyncio.Event) -> None:
    if not os.read(sys.stdin.fileno(), 4096):
        asyncio.get_running_loop().remove_reader(sys.stdin.fileno())
        told.set()


def _announce(listening: Listening) -> None:
    _tell_parent({"url": listening.url, "port": listening.port, "pid": os.getpid()})


def _tell_parent(line: dict[str, str | int]) -> None:
    sys.stdout.write(orjson.dumps(line).decode() + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
