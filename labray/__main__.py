"""`python -m labray`: the command line."""

from labray.cli import main

if __name__ == "__main__":
    main()
