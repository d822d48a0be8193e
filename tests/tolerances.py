"""How far float32 and float64 results may lie from the truth, in one place."""

TOLERANCE = {
    "float32": {"rtol": 2e-5, "atol": 2e-6},
    "float64": {"rtol": 1e-12, "atol": 1e-13},
}
