"""``python -m edgecolor`` is ``edgecolor``."""

from edgecolor._cli import main

if __name__ == "__main__":
    main()
