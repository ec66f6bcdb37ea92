"""What the fork server loads: modules of the workers and commands, and no thread or client.

``torch._dynamo`` is loaded by the first optimizer, the two of uvicorn by its first server.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import os
from contextlib import suppress

from ader_stream.runtime.resources import worker_module

MODULES = (
    *map(worker_module, ("sessionizer", "monitor", "inference", "trainer")),
    "ader_stream.testing.processes",
    "torch._dynamo",
    "uvicorn.lifespan.on",
    "uvicorn.protocols.http.h11_impl",
)

for module in MODULES:
    with suppress(ImportError):  # without torch, the sessionizer and the monitor still run
        importlib.import_module(module)
gc.freeze()  # a collection in a forked process would copy every page with these objects
atexit.register(os._exit, 0)  # the fork server itself: bindings would report frozen objects as lost
