"""Takes turns when asked on standard input, and blocks in the kernel between them."""

import json
import sys


def serve(take, **about):
    """Say that all is loaded, then answer until standard input ends.

    `take(iterations, warmup)` gives the reply; `about` is told beside the word that it is ready.
    """
    print(json.dumps(dict(about, ready=True)), flush=True)
    for line in sys.stdin:
        asked = json.loads(line)
        print(json.dumps(take(asked["iterations"], asked["warmup"])), flush=True)
