"""The letter's tables, and how other methods do on the same data with the same budget."""
