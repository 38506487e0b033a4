"""`python -m ollmlx.cli`."""

from ollmlx.cli.program import main

if __name__ == "__main__":
    main()
