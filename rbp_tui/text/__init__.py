"""Texts and number formats that the command line and the dashboard share."""
