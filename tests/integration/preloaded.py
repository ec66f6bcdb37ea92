"""What the fork server loads: modules of the workers and commands, and no thread or client.

``torch._dynamo`` is loaded by the first optimizer, the two of uvicorn by its first server.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import os

MODULES = (
    "consumers.inference",
    "consumers.monitor",
    "consumers.sessionizer",
    "consumers.trainer",
    "tests.integration.processes",
    "torch._dynamo",
    "uvicorn.lifespan.on",
    "uvicorn.protocols.http.h11_impl",
)

for module in MODULES:
    importlib.import_module(module)
gc.freeze()  # a collection in a forked process would copy every page with these objects
atexit.register(os._exit, 0)  # the fork server itself: bindings would report frozen objects as lost
