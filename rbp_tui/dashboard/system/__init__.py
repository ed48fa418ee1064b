"""The System screen."""
