"""The version of jdl."""

VERSION = "0.1.0"
