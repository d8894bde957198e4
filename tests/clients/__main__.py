"""Generate clients and use them: ``python -m tests.clients [pytest's arguments]``.

The generators go to ``var/clients``: openapi-typescript from npm, openapi-python-client and
schemathesis from the package index. What can't be had is not run, and the last lines say why. With
CI=true that is a failure, unless the machine has no node or no npm.
"""

import os
import shutil
import subprocess
import sys

from . import tools


def main(arguments: list[str]) -> int:
    strict = os.environ.get("CI") == "true"
    reasons = {"Python": tools.install_python(), "TypeScript": tools.install_node()}
    missing = [name for name in ("node", "npm") if shutil.which(name) is None]
    if missing:
        reasons["TypeScript"] = f"there is no {' and no '.join(missing)}"
    can = {kind for kind, reason in reasons.items() if not reason}
    failed = 0
    if can:
        options = "-q", "-n2", "--dist", "loadgroup", f"--rootdir={tools.BASE}"
        command = [sys.executable, "-m", "pytest", "-c", str(tools.HERE / "pytest.ini"), *options]
        failed = subprocess.run(
            [*command, str(tools.HERE), *arguments],
            env=os.environ | {"CLIENTS": ",".join(can)},
            check=False,
        ).returncode
    for kind, reason in reasons.items():
        if reason:
            is_failure = strict and not (kind == "TypeScript" and missing)
            failed = failed or int(is_failure)
            print(f"{kind}: {'FAILED' if is_failure else 'not run'}, {reason}")
    return failed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
