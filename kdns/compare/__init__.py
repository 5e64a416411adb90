"""`kdns compare`: two servers, one list of questions, and where their answers differ.

Asks over plain sockets as any client would, and reads replies by dnslib, a reader that has nothing
in common with the one that wrote kdns' own replies. Serves nothing and writes to no cluster.
"""
