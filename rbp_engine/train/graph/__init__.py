"""Replay whole training steps as one CUDA graph (train.cuda_graph)."""
