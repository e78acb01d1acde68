"""What checks the certificates of those we call: made once for AWS and the database alike."""

import ssl
from functools import cache


@cache
def trusting(root_file: str = "") -> ssl.SSLContext:
    """Return what checks a server's certificate and name: by the system's authorities, or by those of one file.

    Reading the system's authorities takes 20 to 28 ms, so it is done once in a process.
    """
    return ssl.create_default_context(cafile=root_file or None)
