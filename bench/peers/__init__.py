"""The programs kdns is compared with, as child processes, and the API server that feeds them.

Tests use these as well as the benchmark, so nothing here measures or prints.
"""
