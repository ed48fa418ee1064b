"""Augmentation: of whole batches on the device, and of one PIL image at a time."""
