"""`trr-conformance trace`: the strict-fallback rule (FALL-01 to FALL-06, FALL-11) read from a backend's access logs."""

from conformance.trace.judge import Options, Trace, TracedPerson, Tracer, trace_calls
from conformance.trace.scan import UnreadableLog

__all__ = ["Options", "Trace", "TracedPerson", "Tracer", "UnreadableLog", "trace_calls"]
