"""One file is one process, one consumer group and one deployable unit."""

from ader_stream.runtime.openmp import set_passive_openmp

set_passive_openmp()
