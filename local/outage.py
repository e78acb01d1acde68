"""Lets Postgres go away and come back while `make run` goes on, to see what happens then.

make stop-postgres      at once, as in a crash
make start-postgres     at the same address, with its data
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

from local import stack_file
from local.kept_secrets import KeptSecrets
from local.postgres import PostgresError, PostgresServer


def main(arguments: Sequence[str] | None = None) -> int:
    """Stop or start the Postgres of the running stack."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("what", choices=("stop", "start"))
    parser.add_argument("--folder", type=Path, default=Path(".local"), help="where stack.json is")
    options = parser.parse_args(arguments)
    try:
        address = urlsplit(stack_file.read(options.folder)["database_url"])
        password = KeptSecrets(options.folder).password("postgres")
        server = PostgresServer(options.folder / "postgres", port=address.port or 0, password=password)
        if options.what == "stop":
            server.stop("immediate")
        else:
            server.start()
    except (PostgresError, stack_file.StackNotRunning) as reason:
        print(f"gatehouse: {reason}", file=sys.stderr)
        return 1
    print(f"Postgres at port {address.port}: {'gone' if options.what == 'stop' else 'back'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
