"""Measurements of a spiking network while it trains. They read what a step computes, and change nothing of it."""
