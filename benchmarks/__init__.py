"""What lipika costs, beside the physical floor of the same run. `python -m benchmarks` runs it all (`make bench`).

Every figure is measured in a process of its own, with simulator and Postgres in others, whose CPU is not counted.
"""
