"""``python -m tests.bench``: all benches, one table."""

from tests.bench import large
from tests.bench.every import BENCHES
from tests.bench.report import main

if __name__ == "__main__":
    main(*(module.run for module in BENCHES), extra=large.run)
