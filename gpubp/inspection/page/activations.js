// Activation functions y = f(z) and their slopes f'(z), under the names that gpubp gives them.
// The texts are what the page shows; gpubp/backends/formulas has the specification.

const LEAKY = 0.01;
const SELU = { scale: 1.0507009873554805, alpha: 1.6732632423543772 };
const GELU = { factor: 2 * Math.sqrt(2 / Math.PI), cubic: 0.044715 };

const sigmoid = (z) => Math.exp(Math.min(z, 0)) / (1 + Math.exp(-Math.abs(z)));
export const softplus = (z) => Math.max(z, 0) + Math.log1p(Math.exp(-Math.abs(z)));

/** erf by its Taylor series near 0 and by erfc's continued fraction further out. */
function erf(x) {
  const size = Math.abs(x);
  if (size < 2.5) {
    let term = x;
    let sum = x;
    for (let n = 1; Math.abs(term) > 1e-18 * Math.abs(sum); n += 1) {
      term *= (-x * x) / n;
      sum += term / (2 * n + 1);
    }
    return (2 / Math.sqrt(Math.PI)) * sum;
  }
  let fraction = 0;
  for (let n = 60; n > 0; n -= 1) fraction = n / 2 / (size + fraction);
  return Math.sign(x) * (1 - Math.exp(-size * size) / Math.sqrt(Math.PI) / (size + fraction));
}

const normalCdf = (z) => (1 + erf(z / Math.SQRT2)) / 2;
const held = (z) => Math.max(-30, Math.min(30, z));
const geluGate = (z) => GELU.factor * (held(z) + GELU.cubic * held(z) ** 3);

function geluTanhSlope(z) {
  const s = sigmoid(geluGate(z));
  const x = held(z);
  return s * (1 + x * GELU.factor * (1 + 3 * GELU.cubic * x * x) * sigmoid(-geluGate(z)));
}

function mishSlope(z) {
  const t = Math.tanh(softplus(z));
  return t + z * (1 - t * t) * sigmoid(z);
}

export const ACTIVATIONS = {
  identity: { f: (z) => z, slope: () => 1, text: "y = z", slopeText: "f′ = 1" },
  exp: { f: Math.exp, slope: (z, y) => y, text: "y = exp(z)", slopeText: "f′ = y" },
  softmax: {
    rows: true,
    text: "yⱼ = exp(zⱼ) / Σ exp(zₖ)",
    slope: (z, y) => y * (1 - y),
    slopeText: "∂yⱼ/∂zⱼ = y (1 − y)",
  },
  sigmoid: {
    f: sigmoid,
    slope: (z, y) => y * (1 - y),
    text: "y = 1 / (1 + exp(−z))",
    slopeText: "f′ = y (1 − y)",
  },
  tanh: {
    f: Math.tanh,
    slope: (z, y) => (1 - y) * (1 + y),
    text: "y = tanh(z)",
    slopeText: "f′ = 1 − y²",
  },
  softsign: {
    f: (z) => z / (1 + Math.abs(z)),
    slope: (z, y) => (1 - Math.abs(y)) ** 2,
    text: "y = z / (1 + |z|)",
    slopeText: "f′ = (1 − |y|)²",
  },
  hard_sigmoid: {
    f: (z) => Math.max(0, Math.min(1, (z + 3) / 6)),
    slope: (z, y) => (y > 0 && y < 1 ? 1 / 6 : 0),
    text: "y = min(max((z + 3) / 6, 0), 1)",
    slopeText: "f′ = 1/6 (0 < y < 1), 0 (y = 0, y = 1)",
  },
  relu: {
    f: (z) => Math.max(z, 0),
    slope: (z, y) => (y > 0 ? 1 : 0),
    text: "y = max(z, 0)",
    slopeText: "f′ = 1 (z > 0), 0 (z ≤ 0)",
  },
  leaky_relu: {
    f: (z) => Math.max(z, LEAKY * z),
    slope: (z, y) => (y > 0 ? 1 : LEAKY),
    text: "y = max(z, 0.01 z)",
    slopeText: "f′ = 1 (z > 0), 0.01 (z ≤ 0)",
  },
  elu: {
    f: (z) => Math.max(z, 0) + Math.expm1(Math.min(z, 0)),
    slope: (z, y) => Math.min(y, 0) + 1,
    text: "y = z (z > 0), exp(z) − 1 (z ≤ 0)",
    slopeText: "f′ = min(y, 0) + 1",
  },
  selu: {
    f: (z) => SELU.scale * (Math.max(z, 0) + SELU.alpha * Math.expm1(Math.min(z, 0))),
    slope: (z, y) => (y > 0 ? SELU.scale : y + SELU.scale * SELU.alpha),
    text: "y = 1.0507 z (z > 0), 1.7581 (exp(z) − 1) (z ≤ 0)",
    slopeText: "f′ = 1.0507 (z > 0), y + 1.7581 (z ≤ 0)",
  },
  softplus: {
    f: softplus,
    slope: (z, y) => -Math.expm1(-y),
    text: "y = log(1 + exp(z))",
    slopeText: "f′ = 1 − exp(−y)",
  },
  squareplus: {
    f: (z) => Math.max(z, 0) + 1 / (Math.abs(z) / 2 + Math.hypot(z / 2, 1)),
    slope: (z, y) => y / (y + 1 / y),
    text: "y = (z + √(z² + 4)) / 2",
    slopeText: "f′ = y / (y + 1/y)",
  },
  silu: {
    f: (z) => z * sigmoid(z),
    slope: (z) => sigmoid(z) * (1 + z * (1 - sigmoid(z))),
    text: "y = z s, s = 1 / (1 + exp(−z))",
    slopeText: "f′ = s (1 + z (1 − s))",
  },
  gelu: {
    f: (z) => z * normalCdf(z),
    slope: (z) => normalCdf(z) + (z * Math.exp((-z * z) / 2)) / Math.sqrt(2 * Math.PI),
    text: "y = z Φ(z)",
    slopeText: "f′ = Φ(z) + z exp(−z²/2) / √(2π)",
  },
  gelu_tanh: {
    f: (z) => z * sigmoid(geluGate(z)),
    slope: geluTanhSlope,
    text: "y = z s(u), u = 1.5958 (z + 0.044715 z³)",
    slopeText: "f′ = s (1 + z u′ (1 − s))",
  },
  mish: {
    f: (z) => z * Math.tanh(softplus(z)),
    slope: mishSlope,
    text: "y = z t, t = tanh(log(1 + exp(z)))",
    slopeText: "f′ = t + z (1 − t²) s(z)",
  },
};

/** Return the outputs of one row. */
export function activate(name, z) {
  const entry = ACTIVATIONS[name];
  if (!entry.rows) return z.map((each) => entry.f(each));
  const top = Math.max(...z);
  const powers = z.map((each) => Math.exp(each - top));
  const sum = powers.reduce((a, b) => a + b, 0);
  return powers.map((each) => each / sum);
}

/** Turn gradients by the outputs of one row into those by its weighted sums. */
export function activateBackward(name, z, y, dy) {
  const entry = ACTIVATIONS[name];
  if (!entry.rows) return dy.map((each, j) => each * entry.slope(z[j], y[j]));
  const mean = dy.reduce((sum, each, j) => sum + each * y[j], 0);
  return dy.map((each, j) => y[j] * (each - mean));
}
