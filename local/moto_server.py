"""The moto server: the AWS services of the local stack (SQS, Secrets Manager and the like), in a process of its own."""

import argparse
import logging
import subprocess
import sys
import time
from http.client import HTTPConnection

from local.child_process import end, start

START_SECONDS = 60


class MotoServer:
    """One moto server on 127.0.0.1, with everything it keeps in memory."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.endpoint = f"http://127.0.0.1:{port}"
        self._process: subprocess.Popen[bytes] | None = None

    def launch(self) -> None:
        """Start the process and return at once: its imports take a second that others can use."""
        self._process = start([sys.executable, "-m", "local.moto_server", "--port", str(self.port)])

    def wait_until_ready(self) -> None:
        """Return when the server answers."""
        deadline = time.monotonic() + START_SECONDS
        while not self._answers():
            if self._process is None or self._process.poll() is not None:
                raise RuntimeError("the moto server ended while it started: run `python -m local.moto_server`")
            if time.monotonic() > deadline:
                raise RuntimeError(f"the moto server does not answer after {START_SECONDS} seconds")
            time.sleep(0.05)

    def stop(self) -> None:
        """End the process; queues and secrets are gone with it."""
        if self._process is not None:
            end(self._process)
            self._process = None

    def _answers(self) -> bool:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request("GET", "/moto-api/data.json")
            return connection.getresponse().status == 200
        except OSError:
            return False
        finally:
            connection.close()


def serve() -> None:
    """Serve in this process until it is ended."""
    arguments = argparse.ArgumentParser(description=serve.__doc__)
    arguments.add_argument("--port", type=int, required=True)
    port = arguments.parse_args().port
    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # a line a request, which nobody reads

    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
    from werkzeug.serving import run_simple

    application = DomainDispatcherApplication(create_backend_app)
    run_simple("127.0.0.1", port, application, threaded=True, request_handler=MotoRequestHandler)


if __name__ == "__main__":
    serve()
