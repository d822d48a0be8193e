"""
Would more processes help?
==========================

`gpubp plan` says how long a step takes on several devices, and what limits it, before you rent
them. Training by several processes is then ``gpubp launch -n 4 train folder/ --target y``.
"""

import subprocess
import sys

command = [sys.executable, "-m", "gpubp", "plan", "--parameters", "1e8", "--gpus", "64"]
print(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
