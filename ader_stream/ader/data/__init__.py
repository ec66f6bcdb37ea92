"""Item ids to indices, sessions to samples and batches."""
