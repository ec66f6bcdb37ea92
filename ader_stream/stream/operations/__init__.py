"""Operations on the topics for operators: replay, reset, skip, erase, inspect."""
