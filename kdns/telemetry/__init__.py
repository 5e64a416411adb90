"""Counters and histograms, their exposition under CoreDNS's names, and log lines.

Telemetry observes; no decision is made here.
"""
