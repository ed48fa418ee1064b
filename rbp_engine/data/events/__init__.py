"""Event-camera data: recordings decoded once into frames [T, 2, H, W], cached, and fed in batches [T, B, 2, H, W]."""
