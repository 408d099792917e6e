"""Score images and folders with a pipeline; the same as ``gbad predict``.

python pipelines/predict.py RUN/pipeline.joblib PATH... --out scores.csv
"""

import sys

from gbad.cli.app import main

if __name__ == "__main__":
    sys.argv.insert(1, "predict")
    main()
