"""A campaign of faults against the command: kills, full disks, lost workers, clocks that jump.

python -m tests.faults --moments 100
"""
