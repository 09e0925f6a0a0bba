"""Agreement, calibration, win rates and displacement of a run, each with an interval."""
