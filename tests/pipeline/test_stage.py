import numpy as np
import pytest

from jdl.core.errors import ConfigError, ConfigTypeError, GraphError, UnknownNameError
from jdl.data import selectors
from jdl.pipeline import STAGES, ImputeMean, Scale, ScaleRange, Select, StageChain


def test_id_names_the_stage_and_else_its_catalogue_name():
    assert Scale().stage_id == "scale"
    assert Scale(id="again").stage_id == "again"


@pytest.mark.parametrize("bad", ["", "a.b", 3])
def test_id_must_be_a_text_without_dots(bad):
    with pytest.raises(ConfigError, match="'id' must be a text without a dot"):
        Scale(id=bad)


def test_unknown_hyperparameter_is_an_error_with_the_nearest_name():
    with pytest.raises(UnknownNameError, match=r"'centre' of pipeline operator 'scale'.*'center'"):
        STAGES.make("scale", centre=True)
    with pytest.raises(UnknownNameError, match=r"'centre' of pipeline operator 'first'.*'center'"):
        Scale(id="first").set(centre=True)


def test_values_are_checked_by_constructor_and_set():
    for make in (lambda: Scale(center="yes"), lambda: Scale().set(center="yes")):  # pyright: ignore
        with pytest.raises(ConfigTypeError, match="'center' must be True or False, got 'yes'"):
            make()
    with pytest.raises(ConfigError, match="'lower' must be below 'upper'"):
        ScaleRange().set(lower=1.0)
    with pytest.raises(ConfigError, match="'n_quantiles' must be"):
        STAGES.make("quantilenormal", n_quantiles=0)
    with pytest.raises(ConfigTypeError, match="takes 3 arguments without a name, got 4"):
        STAGES.make("scale", "x", True, True, True)
    with pytest.raises(ConfigError, match="'selector' is required"):
        STAGES.make("select")


def test_values_are_kept_in_one_form():
    assert Select(["a", "b"]).selector == selectors.name("a", "b")
    assert ScaleRange(upper=np.int64(2)) == ScaleRange(upper=2.0)  # pyright: ignore[reportArgumentType]


def test_set_returns_a_new_stage_and_keeps_the_id():
    first = Scale(id="first")
    second = first.set(center=False)
    assert second.params() == {"columns": selectors.all(), "center": False, "scale": True}
    assert second.stage_id == "first"
    assert first.center


def test_stages_and_chains_join_in_order():
    a, b, c = ImputeMean(), Scale(), Select("x")
    assert (a >> b >> c).stages == (a, b, c)
    assert (a >> (b >> c)).stages == (a, b, c)


def test_equal_ids_in_a_chain_are_numbered_and_an_error_if_given():
    chain = StageChain((Scale(), Scale(center=False), Scale()))
    assert [stage.stage_id for stage in chain.stages] == ["scale", "scale_2", "scale_3"]
    assert [s.stage_id for s in (Scale(id="scale_2") >> Scale() >> Scale()).stages] == ["scale_2", "scale", "scale_3"]
    with pytest.raises(GraphError, match="two of its operators have the id 'z'"):
        StageChain((Scale(id="z"), Scale(center=False, id="z")))
    assert StageChain(()).stages == ()


@pytest.mark.parametrize("behind", ["classif.mlp", 5])
def test_what_cannot_follow_a_stage_is_refused(behind):
    with pytest.raises(GraphError, match="expected a pipeline operator, a learner or a graph behind 'scale'"):
        Scale() >> behind


@pytest.mark.parametrize(
    ("pipeline", "ids"), [(Scale(), "'scale'"), (Scale() >> ImputeMean(), "'scale >> imputemean'")], ids=str
)
def test_a_pipeline_without_a_learner_cannot_be_trained(pipeline, ids):
    with pytest.raises(GraphError, match=rf"pipeline {ids}: [\s\S]*must end in a learner[\s\S]*Hint"):
        pipeline.train("iris")
