"""One file is one process, one consumer group and one deployable unit."""

from ader_stream.runtime.openmp import wait_passively

wait_passively()
