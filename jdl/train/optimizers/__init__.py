"""Optimizers by name: what each of them takes and how its Optax transformation is made."""
