"""Corefile text to server blocks and directives, every one with the place it was written.

The meaning of a directive belongs to its plugin.
"""
