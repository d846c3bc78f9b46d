"""Learners of networks for tables: settings that have no effect, and what the variants of RealMLP use."""

import pytest

import jdl
from jdl.core.errors import ConfigError

WITHOUT_EFFECT = {
    "bins of no embeddings": ("mlp", {"n_bins": 5}, "'n_bins' acts on num_embeddings 'piecewise_linear'.* None, got"),
    "a width of none": ("tab_resnet", {"d_embedding": 4}, "'d_embedding' acts on .*\nHint: num_embeddings='linear'"),
    "frequencies of bins": ("tabm", {"n_frequencies": 4}, "'n_frequencies' acts on .*'periodic' and 'pbld'"),
    "deviation of bins": ("tabm", {"frequency_init_scale": 0.5}, "'frequency_init_scale' acts on"),
    "lite pbld": ("realmlp", {"lite": True}, "'lite' acts on num_embeddings 'periodic', but .* 'pbld', got lite=True"),
    "trees of pbld": ("realmlp", {"binning": "tree"}, "'binning' acts on"),
    "version of none": ("ft_transformer", {"ple_version": "A"}, "'ple_version' acts on"),
    "activation": ("mlp", {"num_embeddings": "linear", "embedding_activation": True}, "'embedding_activation' acts on"),
    "width of tokens": ("ft_transformer", {"d_embedding": 4}, "'d_embedding' has no effect.*'d_block'.\nHint: d_block"),
    "ratio alone": ("ft_transformer", {"linformer_kv_compression_ratio": 0.5}, "go together, got 0.5 and None"),
    "sharing alone": (
        "ft_transformer", {"linformer_kv_compression_sharing": "headwise"}, "go together, got None and 'headwise'",
    ),
    "scales of packed": (
        "tabm", {"arch_type": "tabm-packed", "start_scaling_init": "normal"}, "'start_scaling_init' has no effect, got",
    ),
    "dropout of td-s": ("realmlp", {"variant": "td-s", "dropout": 0.15}, "'dropout' has no effect, got 0.15"),
    "kind of td-s": ("realmlp", {"variant": "td-s", "num_embeddings": "linear"}, "'num_embeddings' has no effect"),
    "width of td-s": ("realmlp", {"variant": "td-s", "d_embedding": 3}, "'d_embedding' has no effect"),
    "one-hot of td-s": ("realmlp", {"variant": "td-s", "max_one_hot_cat_size": 3}, "'max_one_hot_cat_size' has no"),
    "smoothing of a given loss": (
        "realmlp", {"label_smoothing": 0.2, "loss": "cross_entropy"}, "'label_smoothing' is of the learner's own loss",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", WITHOUT_EFFECT)
def test_what_has_no_effect_is_refused(case):
    name, values, message = WITHOUT_EFFECT[case]
    for attempt in (lambda: jdl.lrn(f"classif.{name}", **values), lambda: jdl.lrn(f"classif.{name}").set(values)):
        with pytest.raises(ConfigError, match=f"(?s)'classif.{name}': .*{message}") as error:
            attempt()
        assert "\nHint: " in str(error.value)


def test_smoothing_of_labels_is_for_classes():
    learner = jdl.lrn("regr.realmlp")
    for attempt in (lambda **given: jdl.lrn("regr.realmlp", **given), learner.set):
        with pytest.raises(ConfigError, match=r"'regr.realmlp': 'label_smoothing' has no effect.*\nHint: leave it out"):
            attempt(label_smoothing=0.1)
    assert "label_smoothing" not in set(learner.params()["name"])


def test_the_simple_variant_says_what_it_uses():
    learner = jdl.lrn("classif.realmlp", variant="td-s", dropout=0.0)
    assert learner.get("num_embeddings") is None and learner.dynamic() == {}
    assert jdl.lrn("classif.realmlp").get("num_embeddings") == "pbld"
    assert jdl.lrn("classif.realmlp").dynamic() == {"dropout": 0.15}
    assert jdl.lrn("classif.realmlp", variant="td-s").set(variant="td").get("num_embeddings") == "pbld"
    again = jdl.lrn("classif.realmlp").set({"variant": "td-s", "num_embeddings": learner.get("num_embeddings")})
    assert again.network() == learner.network()
