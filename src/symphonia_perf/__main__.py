"""`python -m symphonia_perf`: the command where its script is not on the path."""

from symphonia_perf.cli.entry import main

if __name__ == "__main__":
    main()
