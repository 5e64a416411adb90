"""`kdns migrate`: what a cluster's DNS is configured by today, as values or a Corefile for kdns.

Reads three ConfigMaps, from the API server or from files, and prints. Nothing is ever written to a
cluster, and what is left out of the result is said, with its place and what to write instead.
"""
