"""
Exclusive or
============

Learn exclusive or, and show the numbers of one step. This needs nothing but gpubp and NumPy.
"""

# sphinx_gallery_thumbnail_path = 'images/xor.png'
import numpy as np

import gpubp

x = np.array([[0, 0], [0, 1], [1, 0], [1, 1]])
y = np.array([0, 1, 1, 0])

net = gpubp.Network([2, 8, 1], activation="tanh", output="sigmoid", seed=1)
print(net.trace(x[1:2], y[1:2], learning_rate=0.5).table(max_rows=6))

net.fit(x, y, optimizer=gpubp.Adam(0.05), epochs=300)
for inputs, output in zip(x, net.predict(x), strict=True):
    print(inputs, "->", round(float(output[0]), 3))

accuracy = net.evaluate(x, y)["accuracy"]
print(f"accuracy {accuracy:.2f} on the {net.backend.name}")
if accuracy < 1:
    raise SystemExit("exclusive or was not learnt")
