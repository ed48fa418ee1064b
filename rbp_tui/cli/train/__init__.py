"""`rbp train`, and following runs to their end."""
