"""Trained networks for other programs and for chips: `rbp export nir` writes a file of NIR.

`walk` follows a network in evaluation mode and lists its operations, merged where they can be, `graph` writes them as
nodes of NIR, and `check` executes the result and compares it with the network.
"""
