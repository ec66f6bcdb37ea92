"""What the monitor shows: drift, quality, lag and refusals, as JSON and as metrics."""
