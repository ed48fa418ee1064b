"""The front end of rbp: commands and dashboard. It reads and writes files of runs, and never loads torch."""
