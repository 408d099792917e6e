"""Phase 2: extract features, train the detector on the threat-free ones; needs a run folder with phase 1 done.

python pipelines/phase2_train_detector.py RUN
"""

from gbad.cli.app import phase_script

if __name__ == "__main__":
    phase_script(2)
