"""From finished runs to the tables and figures of a paper. No torch, no front end; matplotlib only while drawing."""
