"""What a Corefile can say: one module a directive, their one ordered list, and the chain.

Plugins do not import each other, nor the frontends; what two of them share lives in a room below.
"""
