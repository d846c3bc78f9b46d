"""Losses, one family a file; `jdl.train.loss` has the catalogue."""
