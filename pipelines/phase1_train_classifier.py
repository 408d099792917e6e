"""Phase 1: train the classifier into a run folder; takes the arguments and options of ``gbad train``.

python pipelines/phase1_train_classifier.py DATA --subset 10 --out RUN
"""

import sys

from gbad.cli.app import main

if __name__ == "__main__":
    sys.argv[1:] = ["train", *sys.argv[1:], "--stop-after", "1"]
    main()
