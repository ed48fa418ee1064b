"""The sections of a preset.

Every field has a default, a unit, a description, and a role: "result" changes what is learned, "cost" only time or
memory, "place" only where the run is or what it is called. Every number that sizes something has a maximum, far above
what anybody trains with, since a preset may be somebody else's. The names of networks, methods, data sets and
surrogates are in `rbp_engine/vocabulary.py`, so that an unknown one is refused without importing torch.
"""
