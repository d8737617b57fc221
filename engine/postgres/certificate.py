"""Why a server's certificate was refused, in OpenSSL's words: libpq keeps them to itself.

One more handshake, without a login. The room refuses to decide anything: it only finds the word for what libpq has
refused already.
"""

from __future__ import annotations

import socket
import ssl
import struct

from engine.postgres.address import Conninfo

_ASK_FOR_TLS = struct.pack("!ii", 8, 80877103)
_LONGEST_S = 5.0


def why_refused(conninfo: Conninfo) -> str | None:
    """For example "certificate has expired"; None where nothing can be said."""
    if conninfo.unix_socket or conninfo.ca_file is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False  # another matter, of which libpq has words of its own
    try:
        if conninfo.ca_file == "system":
            context.load_default_certs()
        else:
            context.load_verify_locations(cafile=conninfo.ca_file)
        address = (conninfo.hostaddr or conninfo.host, conninfo.port)
        with socket.create_connection(address, timeout=min(conninfo.connect_timeout_s, _LONGEST_S)) as plain:
            plain.sendall(_ASK_FOR_TLS)
            if plain.recv(1) != b"S":
                return None
            with context.wrap_socket(plain, server_hostname=conninfo.host):
                return None
    except ssl.SSLCertVerificationError as e:
        return e.verify_message
    except (OSError, ValueError):
        return None
