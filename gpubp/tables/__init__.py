"""Tables of columns: reading, preprocessing, measures, and a model of a whole table."""
