"""`rbp sweep`: train a preset over combinations of settings and seeds."""
