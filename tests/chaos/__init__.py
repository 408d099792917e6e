"""Chaos: kills, full disks, company, damage and hostility at random, for as long as wanted.

It is no part of the tests. ``make chaos`` runs it and writes ``results/reliability.md``; a trial that failed is run
again with the numbers that are printed::

    PYTHONPATH=tests:. python -m chaos --only kill --trial 123456
"""
