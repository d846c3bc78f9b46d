"""RealMLP: a multi-layer perceptron with its preprocessing, embeddings and initial values tuned to each other."""

import itertools
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Int

from jdl.core.errors import ConfigError, ConfigTypeError, ShapeError, UnknownNameError
from jdl.core.random import as_key
from jdl.networks.activation import activation_name
from jdl.networks.check import cardinalities, columns, positive, rate, some_features
from jdl.networks.embeddings import CategoricalEmbeddings, NumericEmbeddings, PBLDEmbeddings
from jdl.networks.fitted import Fitted
from jdl.networks.initial import Constant, Normal
from jdl.networks.noise import OwnNoise, with_own_noise
from jdl.networks.ntk import NTKLinear, RealBlock
from jdl.networks.paths import path_names
from jdl.networks.robust_scale import RobustScale, SignedOneHot
from jdl.networks.torch_state import Slot, Slots, TorchModule, under

_EMBEDDINGS = ("pbld", "pblrd", "none")
_MAX_ROWS = 2**15  # enough for a standard deviation to half a percent, and seconds faster than a million


class RealMLP(TorchModule):
    """RealMLP-TD; `RealMLP.simple` makes RealMLP-TD-S.

    Numbers and one-hot columns are scaled by their quartiles, numbers are embedded (PBLD), categories with many
    levels too; then come a learned scale per column, and hidden layers in the neural tangent parametrisation with
    activations of learned strength. Scales and initial values come from the training rows: call `prepare` on them
    before training.

    Args:
      n_num_features: Number of numeric features, without missing values.
      cat_cardinalities: Number of codes of each categorical feature, code 0 (missing or unseen) included.
      d_out: Number of outputs.
      hidden_sizes: Widths of the hidden layers.
      activation: Name or function; the package takes "selu" for classification and "mish" for regression.
      p_drop: Probability after each hidden layer, the hyperparameter "dropout"; 0 or None builds no dropout layer.
      max_one_hot_cat_size: Most codes, code 0 included, that are one-hot encoded; None encodes all features so.
      embedding_size: Width of the embedding of other categorical features.
      num_emb_type: "pbld", "pblrd" (with ReLU) or "none".
      plr_sigma: Standard deviation of the first frequencies.
      plr_hidden_1: Frequencies per feature.
      plr_hidden_2: Width of an embedding, the feature itself included.
      num_embeddings: A module of `jdl.networks.embeddings` in the place of `num_emb_type`.
      parametric_act: Whether the strength of activations is learned.
      data_init: Whether `prepare` draws initial values from the training rows; without it they are N(0, 1), and 0
        in the last layer.
      clamp_output: Whether outputs are kept in the range of the training targets when evaluating.
      rngs: `nnx.Rngs`, or `HostRngs` to draw on the host.

    Raises:
      ConfigError: No features, a size below 1, or embeddings of another number of features.

    References: Holzmüller et al., Better by Default: Strong Pre-Tuned MLPs and Boosted Trees on Tabular Data, 2024.

    >>> rows = np.random.default_rng(0)
    >>> x_num, x_cat = rows.normal(size=(99, 3)), rows.integers(0, 4, (99, 1))
    >>> model = RealMLP(n_num_features=3, cat_cardinalities=[4], d_out=2, rngs=nnx.Rngs(0))
    >>> model.prepare(x_num, x_cat, key=0)
    >>> model.eval()
    >>> model(jnp.asarray(x_num), jnp.asarray(x_cat)).shape
    (99, 2)
    """

    def __init__(
        self,
        *,
        n_num_features: int = 0,
        cat_cardinalities: Sequence[int] | None = None,
        d_out: int,
        hidden_sizes: Sequence[int] = (256, 256, 256),
        activation: str | Callable[..., Any] = "selu",
        p_drop: float | None = 0.15,
        max_one_hot_cat_size: int | None = 9,
        embedding_size: int = 8,
        num_emb_type: str = "pbld",
        plr_sigma: float = 0.1,
        plr_hidden_1: int = 16,
        plr_hidden_2: int = 4,
        num_embeddings: NumericEmbeddings | None = None,
        parametric_act: bool = True,
        data_init: bool = True,
        clamp_output: bool = False,
        rngs: Any,
    ):
        sizes = cardinalities("RealMLP", cat_cardinalities)
        some_features("RealMLP", n_num_features, len(sizes))
        positive("RealMLP", d_out=d_out, **{f"hidden_sizes[{i}]": width for i, width in enumerate(hidden_sizes)})
        rate("RealMLP", p_drop=p_drop)
        is_few = [max_one_hot_cat_size is None or size <= max_one_hot_cat_size for size in sizes]
        self.n_num_features = n_num_features
        self.data_init = data_init
        self.few = tuple(i for i, few in enumerate(is_few) if few)
        self.many = tuple(i for i, few in enumerate(is_few) if not few)
        self.one_hot = SignedOneHot([sizes[i] for i in self.few])
        self.scaling = RobustScale(n_num_features + self.one_hot.d_out)
        if num_embeddings is None and n_num_features:
            options: Any = {"n_frequencies": plr_hidden_1, "frequency_init_scale": plr_sigma}
            num_embeddings = _embeddings(num_emb_type, n_num_features, plr_hidden_2, options, rngs)
        self.num_embeddings = _checked(num_embeddings, n_num_features)
        self.cat_embeddings = _tables([sizes[i] for i in self.many], embedding_size, rngs)
        d_in = n_num_features if self.num_embeddings is None else self.num_embeddings.d_flat
        d_in += self.one_hot.d_out + embedding_size * len(self.many)
        positive("RealMLP", **{"number of columns that categories become": d_in})
        self.front_scale = nnx.Param(Constant(1.0)(rngs.params(), (d_in,)))
        blocks, name = [], activation_name(activation)
        bias_init = Constant(0.0) if data_init else Normal()
        for i, (a, b) in enumerate(itertools.pairwise([d_in, *hidden_sizes])):
            layer = NTKLinear(a, b, kernel_init=Normal(), bias_init=bias_init, rngs=rngs)
            blocks.append(RealBlock(layer, name, parametric=parametric_act, dropout=p_drop, number=i, rngs=rngs))
        self.blocks = nnx.List(blocks)
        last = hidden_sizes[-1] if hidden_sizes else d_in
        kernel_init = Normal() if data_init else Constant(0.0)
        self.head = NTKLinear(last, d_out, kernel_init=kernel_init, bias_init=Constant(0.0), rngs=rngs)
        self.noise = OwnNoise(rngs, p_drop)
        self.clamp = OutputClamp(d_out) if clamp_output else None

    @classmethod
    def simple(cls, **options: Any) -> "RealMLP":
        """RealMLP-TD-S: no embeddings, plain activations, no dropout, random initial values; the rest as given.

        >>> RealMLP.simple(n_num_features=3, d_out=1, activation="mish", rngs=nnx.Rngs(0)).num_embeddings is None
        True
        """
        td_s: dict[str, Any] = {"p_drop": None, "max_one_hot_cat_size": None, "num_emb_type": "none"}
        td_s |= {"parametric_act": False, "data_init": False}
        return cls(**(td_s | options))

    @with_own_noise
    def __call__(
        self,
        x_num: Float[Array, "row feature"] | None = None,
        x_cat: Int[Array, "row categorical"] | None = None,
    ) -> Float[Array, "row output"]:
        """Outputs for a batch of rows."""
        x = self._net_input(jnp, x_num, x_cat) * self.front_scale[...][None]
        for block in self.blocks:
            x = block(x)
        x = self.head(x)
        return x if self.clamp is None else self.clamp(x)

    def prepare(
        self,
        x_num: np.ndarray | None = None,
        x_cat: np.ndarray | None = None,
        key: Any = 0,
        target: np.ndarray | None = None,
    ) -> None:
        """Takes scales and initial values from the training rows, in place, in NumPy.

        Args:
          x_num: Numeric features of the training rows.
          x_cat: Codes of the training rows.
          key: Where the random numbers come from.
          target: Targets as the loss sees them, for `clamp_output` and for bins of decision trees.

        Raises:
          ShapeError: Other columns than the model was built for.
          ConfigError: `clamp_output` without target.
        """
        raw = self._raw(np, x_num, x_cat)
        self.scaling.prepare(raw)
        if self.num_embeddings is not None:
            self.num_embeddings.prepare(self.scaling.embed(np, raw)[:, : self.n_num_features], target)
        if self.clamp is not None:
            self.clamp.prepare(target)
        if not self.data_init:
            return
        key = as_key(key)
        rows = np.arange(len(raw))
        if len(raw) > _MAX_ROWS:
            rows = np.sort(key.generator("rows").choice(len(raw), _MAX_ROWS, replace=False))
        x_num, x_cat = (None if x is None else np.asarray(x)[rows] for x in (x_num, x_cat))
        x = self._net_input(np, x_num, x_cat) * np.asarray(self.front_scale[...])[None]
        for i, block in enumerate(self.blocks):
            x = block.prepare(x, key.generator("layer", i))
        self.head.prepare(x, key.generator("layer", len(self.blocks)))

    def _raw(self, xp: Any, x_num: Any, x_cat: Any) -> Float[Any, "row column"]:
        """What is scaled: numbers, then one-hot columns."""
        x_num = columns("RealMLP", "x_num", x_num, self.n_num_features, (2,))
        x_cat = columns("RealMLP", "x_cat", x_cat, len(self.few) + len(self.many), (2,), codes=True)
        parts = []
        if self.n_num_features:
            parts.append(xp.asarray(x_num, np.float32))
        if x_cat is not None:
            parts.append(self.one_hot.embed(xp, xp.asarray(x_cat)[:, np.array(self.few, int)]))
        if len({part.shape[0] for part in parts}) > 1:
            raise ShapeError(f"RealMLP: x_num and x_cat must have equal rows, got {[p.shape[0] for p in parts]}.")
        return xp.concatenate(parts, axis=1)

    def _net_input(self, xp: Any, x_num: Any, x_cat: Any) -> Float[Any, "row column"]:
        # Scaled in float32, whatever the layers compute in.
        x = self.scaling.embed(xp, self._raw(xp, x_num, x_cat)).astype(self.front_scale[...].dtype)
        n = self.n_num_features
        parts = [x if self.num_embeddings is None else self.num_embeddings.flat(x[:, :n], xp)]
        if self.num_embeddings is not None:
            parts.append(x[:, n:])
        if self.cat_embeddings is not None:
            codes = xp.asarray(x_cat)[:, np.array(self.many, int)]
            # A code that is out of range is unseen, as code 0 is.
            limits = np.array(self.cat_embeddings.cardinalities, np.int32)[None]
            embedded = self.cat_embeddings.embed(xp, xp.where((codes >= 0) & (codes < limits), codes, 0))
            parts.append(embedded.reshape(x.shape[0], -1))
        return xp.concatenate(parts, axis=1)

    @staticmethod
    def lr_factor(path: Iterable[Any]) -> float:
        """What the learning rate of the parameter at `path` is multiplied by.

        >>> [RealMLP.lr_factor(p) for p in (("front_scale",), ("head", "bias"), ("head", "kernel"))]
        [6.0, 0.1, 1.0]
        """
        names = path_names(path)
        if names == ("front_scale",):
            return 6.0
        return 0.1 if names[-1] in ("bias", "act") or names[0] == "num_embeddings" else 1.0

    @staticmethod
    def wd_factor(path: Iterable[Any]) -> float:
        """What the weight decay of the parameter at `path` is multiplied by; biases of the layers are not decayed."""
        names = path_names(path)
        return 0.0 if names[-1] == "bias" and names[0] in ("blocks", "head") else 1.0

    @staticmethod
    def no_weight_decay(path: Iterable[Any]) -> bool:
        """Whether the parameter at `path` takes no weight decay."""
        return RealMLP.wd_factor(path) == 0.0

    def torch_slots(self) -> Slots:
        """Last parts of the scopes in `pytabkit`, without the axis of vectorised models; see `load_torch_state`.

        `scaling.median` and `scaling.factor` are those of the numbers and then of the one-hot columns, `emb.{i}` are
        the tables of the embedded categories, `plr.*`, `layer-{i}.*` are the other parameters.
        """
        slots: Slots = {"scaling.median": Slot(self.scaling.center), "scaling.factor": Slot(self.scaling.factor)}
        slots |= under("plr", self.num_embeddings)
        if self.cat_embeddings is not None:
            tables = self.cat_embeddings.torch_slots().values()
            slots |= {f"emb.{i}": table for i, table in enumerate(tables)}
        slots["layer-0.scale"] = Slot(self.front_scale, shape=(1, self.front_scale.shape[0]))
        for i, layer in enumerate([*self.blocks, self.head]):
            slots |= under(f"layer-{i}", layer)
        return slots


class OutputClamp(nnx.Module):
    """Keeps outputs between the smallest and the largest training target, when evaluating."""

    def __init__(self, d_out: int):
        limit = np.finfo(np.float32).max
        self.low = Fitted(np.full((d_out,), -limit, np.float32))
        self.high = Fitted(np.full((d_out,), limit, np.float32))
        self.deterministic = False

    def __call__(self, x: Float[Array, "row output"]) -> Float[Array, "row output"]:
        """The outputs, within the range when evaluating."""
        return jnp.clip(x, self.low[...][None], self.high[...][None]) if self.deterministic else x

    def prepare(self, target: np.ndarray | None) -> None:
        """Takes the range from the training targets, in place.

        Raises:
          ConfigError: There are none.
        """
        if target is None:
            raise ConfigError("RealMLP: prepare needs target=, since clamp_output=True.")
        target = np.asarray(target, np.float32).reshape(len(target), -1)
        self.low.set_value(np.broadcast_to(target.min(axis=0), self.low.shape).copy())
        self.high.set_value(np.broadcast_to(target.max(axis=0), self.high.shape).copy())


def _embeddings(kind: str, n_features: int, width: int, options: Any, rngs: Any) -> NumericEmbeddings | None:
    if kind not in _EMBEDDINGS:
        raise UnknownNameError.of("num_emb_type", kind, _EMBEDDINGS, owner="RealMLP")
    if kind == "none":
        return None
    return PBLDEmbeddings(n_features, width, activation=kind == "pblrd", rngs=rngs, **options)


def _tables(sizes: Sequence[int], width: int, rngs: Any) -> CategoricalEmbeddings | None:
    return CategoricalEmbeddings(sizes, width, False, init=Normal(), rngs=rngs) if sizes else None


def _checked(embeddings: Any, n_features: int) -> NumericEmbeddings | None:
    if embeddings is None:
        return None
    if not isinstance(embeddings, NumericEmbeddings):
        raise ConfigTypeError(
            "RealMLP: num_embeddings must be a module of jdl.networks.embeddings or None, "
            f"got {type(embeddings).__name__}."
        )
    if embeddings.n_features != n_features:
        raise ConfigError(
            f"RealMLP: num_embeddings are for {embeddings.n_features} features, but n_num_features={n_features}."
        )
    return embeddings
