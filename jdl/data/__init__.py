"""Rank 1: tasks, schemas, tables, predictions, datasets."""
