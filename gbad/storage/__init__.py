"""How gbad writes and reads files: whole or not at all, plain data only, and with the digest of their data."""
