"""
Would more processes help?
==========================

`gpubp plan` says how long a step takes on several devices, and what limits it, before you rent
them. Training by several processes is then ``gpubp launch -n 4 train folder/ --target y``.
"""

import json
import subprocess
import sys

import matplotlib.pyplot as plt

command = [sys.executable, "-m", "gpubp", "plan", "--parameters", "1e8", "--gpus", "4096"]
print(subprocess.run(command, capture_output=True, text=True, check=True).stdout)

# %%
# The speed of the devices above is assumed, not measured. The same numbers as a picture:
told = subprocess.run([*command, "--json"], capture_output=True, text=True, check=True).stdout
rows = json.loads(told)["rows"]
devices = [row["devices"] for row in rows]

figure, axes = plt.subplots(figsize=(6, 3))
axes.loglog(devices, devices, color="gray", linewidth=0.8, label="as many times as devices")
axes.loglog(devices, [row["speedup"] for row in rows], "o-", label="predicted")
axes.set_xlabel("devices")
axes.set_ylabel("times as fast as one")
axes.legend()
figure.tight_layout()
