"""Run the benchmark: tables of the paper for GBAD, CNN and CHR; the same as ``gbad benchmark``.

python pipelines/benchmark.py --scale small --out runs/benchmark
"""

import sys

from gbad.cli.app import main

if __name__ == "__main__":
    sys.argv.insert(1, "benchmark")
    main()
