"""`python -m pairscore` is the command line."""

from pairscore.cli.main import run

if __name__ == "__main__":
    run()
