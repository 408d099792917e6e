"""Compare image-level anomaly detectors; the same as ``gbad benchmark-detectors``.

python pipelines/benchmark_detectors.py --data DATA --protocol one-vs-rest --detectors ganomaly vae --out DIR
"""

import sys

from gbad.cli.app import main

if __name__ == "__main__":
    sys.argv.insert(1, "benchmark-detectors")
    main()
