"""JAX with equinox and optax, written for speed: many steps in one compiled scan, so Python runs once in many steps."""

from collections.abc import Mapping

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax

from benchmarks.frameworks.peers import task

ADAM = optax.adam(0.001)  # made once: JAX would compile everything again for another one


class Network(eqx.Module):
    cell: eqx.nn.GRUCell
    linear: eqx.nn.Linear

    def __init__(self, hidden: int, key: jax.Array) -> None:
        first, second = jax.random.split(key)
        self.cell = eqx.nn.GRUCell(1, hidden, key=first)
        self.linear = eqx.nn.Linear(hidden, task.LENGTH, key=second)

    def __call__(self, window: jax.Array) -> jax.Array:
        def step(state: jax.Array, sample: jax.Array) -> tuple[jax.Array, None]:
            return self.cell(sample[None], state), None

        hidden = self.cell.hidden_size
        # Unrolling makes wide steps an eighth faster and narrow ones an eighth slower.
        state, _ = jax.lax.scan(step, jnp.zeros(hidden), window, unroll=1 if hidden < 32 else task.LENGTH)
        return self.linear(state)


def build(hidden: int, seed: int) -> Network:
    return Network(hidden, jax.random.key(seed))


@eqx.filter_value_and_grad
def loss_and_gradient(model: Network, inputs: jax.Array, target: jax.Array) -> jax.Array:
    return jnp.square(jax.vmap(model)(inputs) - target).mean()


@eqx.filter_jit(donate="all")
def take_steps(
    model: Network, state: optax.OptState, batches: tuple[jax.Array, jax.Array], optimizer: optax.GradientTransformation
) -> tuple[Network, optax.OptState]:
    """Takes a step for each batch; inputs and targets are (steps, batch, 10)."""

    def step(
        carry: tuple[Network, optax.OptState], batch: tuple[jax.Array, jax.Array]
    ) -> tuple[tuple[Network, optax.OptState], None]:
        model, state = carry
        _, gradient = loss_and_gradient(model, *batch)
        updates, state = optimizer.update(gradient, state)
        return (eqx.apply_updates(model, updates), state), None

    return jax.lax.scan(step, (model, state), batches)[0]


def steps_together(steps: int) -> int:
    """Returns the number of steps per call: a divisor of all steps, so that one shape is compiled once."""
    return 32 if steps % 32 == 0 else max(count for count in range(1, 513) if steps % count == 0)


def train(
    model: Network, inputs: np.ndarray, target: np.ndarray, batch: int, epochs: int = 1, rate: float | None = None
) -> Network:
    epoch_steps = len(inputs) // batch  # a partial batch is dropped: one shape, compiled once
    steps = epochs * epoch_steps
    optimizer = ADAM
    if rate:
        optimizer = optax.adam(
            optax.cosine_onecycle_schedule(steps, rate, task.RISE, 1 / task.START, task.START / task.END)
        )
    model = jax.tree.map(jnp.copy, model)  # take_steps donates its arguments; the caller keeps its model
    state = optimizer.init(model)
    generator = np.random.default_rng(0)
    orders = [generator.permutation(len(inputs))[: epoch_steps * batch] for _ in range(epochs)]
    order = np.concatenate(orders).reshape(steps, batch)
    together = steps_together(steps)
    for start in range(0, steps, together):
        chosen = order[start : start + together]
        model, state = take_steps(model, state, (inputs[chosen], target[chosen]), optimizer)
    return jax.block_until_ready(model)


def estimate(model: Network, inputs: np.ndarray) -> np.ndarray:
    return np.asarray(jax.vmap(model)(jnp.asarray(inputs)))


def load(model: Network, weights: Mapping[str, np.ndarray]) -> Network:
    reset_and_update, new = np.split(weights["gru.bias_hh_l0"], [2 * model.cell.hidden_size])
    bias = weights["gru.bias_ih_l0"] + np.concatenate([reset_and_update, np.zeros_like(new)])
    leaves = [weights["gru.weight_ih_l0"], weights["gru.weight_hh_l0"], bias, new]
    leaves += [weights["linear.weight"], weights["linear.bias"]]
    return jax.tree.unflatten(jax.tree.structure(model), map(jnp.asarray, leaves))


def count(model: Network) -> int:
    return sum(leaf.size for leaf in jax.tree.leaves(model))


if __name__ == "__main__":
    task.main(task.Peer(build, train, estimate, load, count))
