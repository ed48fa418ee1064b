"""Trained networks for other programs and for chips: `python -m rbp_engine.export RUN FILE …` writes a file of NIR.

`walk` follows a network in evaluation mode and lists its operations, `fold` makes them fewer, `graph` writes them as
nodes of NIR, and `check` compares the result, executed by `interpreter`, with the network.
"""
