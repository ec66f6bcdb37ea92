"""One reading of `tests.benchmarks.sessionizer`, as a process: prints its CPU seconds."""

import sys

from tests.benchmarks.sessionizer import read

if __name__ == "__main__":
    way, address, topic, partitions = sys.argv[1:]
    print(read(way, address, topic, int(partitions)))
