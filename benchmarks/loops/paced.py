"""A backend for an adopted environment: ONNX Runtime, which can be told to last 3 % longer.

Setting `pace` = own | again | longer: as it is; as it is, under another name; and each call followed
by a sleep of 3 % of what it took. A sleep alone would be late by the time that it takes to wake, so
its end is waited for.
"""

import time

from runner.backends import base, onnxruntime
from runner.backends.onnxruntime import STACK  # noqa: F401

BACKEND = "onnxruntime.paced"
LONGER = 0.03
_LATE_NS = 200_000
_OFFER = base.Offer(
    backend=BACKEND, formats=("onnx",), settings={"pace": ("own", "again", "longer")}
)


class Paced(onnxruntime.OnnxRuntime):
    """A session whose calls last as they do, or longer."""

    def __init__(self, request):
        pace = _OFFER.accept(request)["pace"]
        super().__init__(base.LoadRequest(**{**vars(request), "settings": {}}))
        if pace == "longer":
            self.run = self._longer

    def _longer(self, batch):
        started = time.perf_counter_ns()
        outputs = super().run(batch)
        ended = time.perf_counter_ns()
        until = ended + int(LONGER * (ended - started))
        if until - ended > _LATE_NS:
            time.sleep((until - ended - _LATE_NS) / 1e9)
        while time.perf_counter_ns() < until:
            pass
        return outputs


def create(request):
    """A session to be loaded."""
    return Paced(request)


def probe():
    """As ONNX Runtime's own, with the setting."""
    found = onnxruntime.probe()
    return base.BackendProbe(**{**vars(found), "offer": _OFFER})
