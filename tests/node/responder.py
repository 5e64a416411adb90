"""A stand-in DNS server: `responder.py ADDRESS... [--owns ZONE]`, with its answer in $ANSWER.

Every question gets an A record of $ANSWER, by UDP and TCP. Of the zone that it owns, answers are
authoritative. A question for `eat.test` makes it eat memory until somebody stops it.
"""

import os
import select
import socket
import sys

_LENGTH = 2


def _wire(zone: str) -> bytes:
    return b"".join(bytes((len(each),)) + each.encode() for each in zone.split(".")) + b"\0"


def answered(query: bytes, owned: bytes) -> bytes:
    question = query[12 : query.index(0, 12) + 5]
    if b"\x03eat\x04test" in question:
        hoard = []
        while True:
            hoard.append(bytearray(b"x") * (1 << 20))
    flags = b"\x84\x00" if owned and owned in question else b"\x80\x00"
    counts = b"\0\1\0\1\0\0\0\0"
    record = b"\xc0\x0c\0\1\0\1\0\0\0\1\0\4" + socket.inet_aton(os.environ["ANSWER"])
    return query[:2] + flags + counts + question + record


def _serve(addresses: list[str], owned: bytes) -> None:
    poll = select.poll()
    sockets: dict[int, socket.socket] = {}
    listening = set()

    def take(sock: socket.socket) -> None:
        sockets[sock.fileno()] = sock
        poll.register(sock, select.POLLIN)

    for address in addresses:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
            sock = socket.socket(family, kind)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind((address, 53))
            if kind == socket.SOCK_STREAM:
                sock.listen(128)
                listening.add(sock.fileno())
            take(sock)
    while True:
        for number, _ in poll.poll():
            sock = sockets[number]
            try:
                if number in listening:
                    take(sock.accept()[0])
                elif sock.type == socket.SOCK_DGRAM:
                    query, client = sock.recvfrom(4096)
                    sock.sendto(answered(query, owned), client)
                elif query := sock.recv(4096):
                    answer = answered(query[_LENGTH:], owned)
                    sock.sendall(len(answer).to_bytes(_LENGTH, "big") + answer)
                else:
                    poll.unregister(number)
                    sockets.pop(number).close()
            except OSError:
                if number not in listening and sock.type == socket.SOCK_STREAM:
                    poll.unregister(number)
                    sockets.pop(number).close()


if __name__ == "__main__":
    words = sys.argv[1:]
    zone = b""
    if "--owns" in words:
        at = words.index("--owns")
        zone = _wire(words[at + 1])
        del words[at : at + 2]
    _serve(words, zone)
