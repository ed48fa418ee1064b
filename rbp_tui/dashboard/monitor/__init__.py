"""The Monitor screen."""
