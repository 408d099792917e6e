"""The tables of GBAD (Dumagpi et al. 2020), for GBAD and its baselines on the same data with the same budget."""
