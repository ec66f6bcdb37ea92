"""``ader-stream drift``: the command, its two sources, and how it prints a report."""
