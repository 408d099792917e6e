"""Where and how gbad runs: device, randomness, progress, signals, memory, versions."""
