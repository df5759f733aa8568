"""Serves the built site on this machine and opens it in a browser: ``make serve``."""

import argparse
import functools
import webbrowser
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

SITE = Path(__file__).resolve().parents[1] / "_build" / "html"


def main() -> None:
    """Serve until interrupted; a port that is taken is followed by the next free one."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=8000, help="first port to try (8000)")
    parser.add_argument("--no-open", action="store_true", help="do not open a browser")
    args = parser.parse_args()
    handler = functools.partial(SimpleHTTPRequestHandler, directory=str(SITE))
    for port in range(args.port, args.port + 20):
        try:
            server = ThreadingHTTPServer(("127.0.0.1", port), handler)
            break
        except OSError:
            continue
    else:
        parser.exit(1, f"the ports {args.port} to {args.port + 19} are all taken\n")
    address = f"http://127.0.0.1:{port}/"
    print(f"the book is at {address} (Ctrl-C ends it)", flush=True)
    if not args.no_open:
        webbrowser.open(address)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        print()


if __name__ == "__main__":
    main()
