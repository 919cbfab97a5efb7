"""A local server that speaks the Gemini and OpenRouter wire formats: for the demo, tests and benchmarks.

It checks requests as strictly as the real services, answers with plausible but made-up transcripts, meters
and limits like them, and fails on demand. Its model version is `simulated`: it never passes for the real one.
"""

from lipika.simulator.config import Caching, FlexQueue, Latency, Quotas, SimulatorConfig
from lipika.simulator.exchange import Details, Wire
from lipika.simulator.faults import FaultKind, FaultPlan, FaultRule
from lipika.simulator.process import Handle, spawn
from lipika.simulator.server import Listening, running, serve

__all__ = [
    "Caching",
    "Details",
    "FaultKind",
    "FaultPlan",
    "FaultRule",
    "FlexQueue",
    "Handle",
    "Latency",
    "Listening",
    "Quotas",
    "SimulatorConfig",
    "Wire",
    "running",
    "serve",
    "spawn",
]
