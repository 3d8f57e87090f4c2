"""The package's version, for those below its front door."""

__version__ = "0.1.0"
