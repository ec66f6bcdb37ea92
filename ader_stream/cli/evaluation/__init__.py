"""``ader-stream evaluate``: the command, its progress, its result file and its plots."""
