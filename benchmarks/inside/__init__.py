"""What runs in a process of its own, inside a contender's Django project.

``python -m benchmarks.inside TASK ARGUMENTS`` calls ``main(**arguments)`` of the module TASK;
arguments and answer are JSON.
"""
