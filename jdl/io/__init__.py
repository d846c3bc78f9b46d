"""Rank 1: folders of arrays and a JSON spec, written whole and read only if whole; objects as specs. No pickle."""

from jdl.io.directory import read_directory as read_directory
from jdl.io.directory import write_directory as write_directory
