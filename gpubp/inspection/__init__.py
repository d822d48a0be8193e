"""Looking at a network: a step number by number, its health, gradients, memory."""
