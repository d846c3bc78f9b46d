"""Rank 0: errors, hyperparameter fields, random keys, catalogues of names. Imports no other room."""
