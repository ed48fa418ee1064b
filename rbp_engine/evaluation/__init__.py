"""`rbp eval`: evaluate the weights of a run, in a process of its own. `evaluation_request.py` needs no torch."""
