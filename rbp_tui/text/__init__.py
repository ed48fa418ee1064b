"""Words and numbers as the command line and the dashboard both show them."""
