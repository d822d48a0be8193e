// The stages of one step, in order, and what each shows.

/** Return the stages of a network of so many layers: kind, layer, what neurons and weights show. */
export function stagesOf(count) {
  const layers = Array.from({ length: count }, (_, k) => k + 1);
  const down = [...layers].reverse();
  return [
    { kind: "inputs", layer: 0, neuron: "y" },
    ...layers.flatMap((layer) => [
      { kind: "sum", layer, neuron: "z" },
      { kind: "output", layer, neuron: "y" },
    ]),
    { kind: "loss", layer: count, neuron: "part" },
    { kind: "error_output", layer: count, neuron: "error" },
    ...down.slice(1).map((layer) => ({ kind: "error_hidden", layer, neuron: "error" })),
    ...down.map((layer) => ({ kind: "gradient", layer, weight: "gradient" })),
    { kind: "update", layer: count, weight: "update", every: true },
    { kind: "again", layer: count, neuron: "again", every: true },
  ];
}

/** Return what a layer's neurons show at a stage: the last that is known of them; null for none. */
export function shownAt(stages, at, layer) {
  const { kind, layer: into } = stages[at];
  if (kind === "again") return "again";
  if (layer === 0 || (kind === "gradient" && layer === into - 1)) return "y"; // what the weights read
  for (let k = at; k >= 0; k -= 1) {
    const stage = stages[k];
    if (stage.neuron && stage.layer === layer && stage.neuron !== "part") return stage.neuron;
  }
  return null;
}

/** Return the quantities of a stage's table: each neuron or weight it computes. */
export function quantitiesOf(stage, layers, trained = ["weight", "bias", "mix"]) {
  const neurons = (layer, kind) => {
    const count = layer ? layers[layer - 1].outputs : layers[0].inputs;
    return Array.from({ length: count }, (_, j) => ({ kind, layer, j }));
  };
  const weights = (number, kind) => {
    const layer = layers[number - 1];
    const found = [];
    for (let j = 0; j < layer.outputs; j += 1) {
      for (let i = 0; i < layer.inputs; i += 1) found.push({ kind, of: "weight", layer: number, i, j });
      if (trained.includes("bias")) found.push({ kind, of: "bias", layer: number, j });
      if (layer.mix) found.push({ kind, of: "mix", layer: number, j });
    }
    return found;
  };
  if (stage.kind === "error_output" || stage.kind === "error_hidden") {
    return neurons(stage.layer, "slope").flatMap((q) => [q, { ...q, kind: "error" }]);
  }
  if (stage.kind === "loss") return [...neurons(stage.layer, "part"), { kind: "loss", layer: stage.layer }];
  if (stage.kind === "update") return layers.flatMap((_, k) => weights(k + 1, "update"));
  if (stage.kind === "again") return neurons(stage.layer, "again");
  return stage.weight ? weights(stage.layer, stage.weight) : neurons(stage.layer, stage.neuron);
}
