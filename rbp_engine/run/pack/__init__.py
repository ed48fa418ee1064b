"""A run as one file, to keep or to give away: a tar archive whose first member lists the others."""
