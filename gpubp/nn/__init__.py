"""The network itself: layers, activations, losses, optimizers, and backpropagation through them."""
