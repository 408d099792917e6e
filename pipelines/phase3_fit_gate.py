"""Phase 3: fit the gate on the losses, save RUN/pipeline.joblib; needs a run folder in which phase 2 is done.

python pipelines/phase3_fit_gate.py RUN
"""

from gbad.cli.app import phase_script

if __name__ == "__main__":
    phase_script(3)
