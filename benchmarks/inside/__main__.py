import json
import sys
from importlib import import_module

import django

if __name__ == "__main__":
    django.setup()
    task = import_module(f"benchmarks.inside.{sys.argv[1]}")
    json.dump(task.main(**json.loads(sys.argv[2])), sys.stdout)
