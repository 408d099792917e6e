"""The command line: each command parses its arguments, calls the package and says what it did."""
