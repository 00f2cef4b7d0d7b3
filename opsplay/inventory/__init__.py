"""Which hosts there are, in which groups, with which variables."""
