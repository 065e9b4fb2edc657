"""How a command speaks: plain lines out, one clear message and exit code 2 for what the user can mend."""

import sys
from collections.abc import Callable, Sequence

USER_ERROR = 2


def say(line: str) -> None:
    """One line to stdout, at once."""
    print(line, flush=True)


def run(main: Callable[[Sequence[str] | None], None]) -> None:
    """Call `main(None)`. ValueError and OSError are the user's world: their message, and exit code 2.

    Anything else is a bug of ours and keeps its traceback.
    """
    try:
        main(None)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        raise SystemExit(USER_ERROR) from None
    except KeyboardInterrupt:
        print("interrupted: nothing half-written was left behind", file=sys.stderr, flush=True)
        raise SystemExit(130) from None
