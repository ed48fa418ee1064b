"""What people have of CIFAR10-DVS: its layouts, the recordings in them, how they are split, read and turned."""
