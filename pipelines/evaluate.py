"""Evaluate a pipeline on a test list; the same as ``gbad evaluate``.

python pipelines/evaluate.py RUN/pipeline.joblib DATA --subset 10 --out DIR
"""

import sys

from gbad.cli.app import main

if __name__ == "__main__":
    sys.argv.insert(1, "evaluate")
    main()
