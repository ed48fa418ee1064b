"""The data sets other than event data, each in its own file."""
