"""From a training list to a fitted model: the three phases on a run folder."""
