"""Where this process listens."""

import socket

from hedonic.serving.listening import listening_hosts


def test_listening_sockets_are_found_and_others_are_not():
    before = listening_hosts()
    with socket.socket() as listening, socket.socket() as bound, socket.socket(socket.AF_UNIX):
        listening.bind(("127.0.0.3", 0))
        bound.bind(("127.0.0.4", 0))
        assert listening_hosts() == before
        listening.listen()
        assert listening_hosts() == before | {"127.0.0.3"}
        listening.getsockname()  # it was looked at, not closed
    assert listening_hosts() == before
