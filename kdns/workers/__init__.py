"""Worker processes that answer on sockets of one address, and the parent's side of them.

What the two say to each other is in `messages`; nothing of the queries passes through here.
"""
