"""``python -m tracknet``."""

from tracknet.cli.main import run

if __name__ == "__main__":
    run()
