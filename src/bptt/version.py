"""The version of the package: kept in runs, studies and reports."""

__version__ = "0.1.0"
