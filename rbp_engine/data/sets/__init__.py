"""The data sets, each in its own file, which the catalogue finds by its `DATA_SETS`.

A file here imports neither torch nor numpy before a set is read: commands that list the sets import all of them.
"""
