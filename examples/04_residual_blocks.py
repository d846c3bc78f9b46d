"""A residual network: a block with two paths, repeated; depth and activation are hyperparameters.

Run: python examples/04_residual_blocks.py
"""

import jdl

task = jdl.tsk("breast_cancer")
activation = jdl.po("branch", ["relu", "silu"]) >> [jdl.nn("relu"), jdl.nn("silu")] >> jdl.po("unbranch")
inner = jdl.nn("layer_norm") >> jdl.nn("linear", out_features=64) >> activation >> jdl.nn("dropout", p=0.1)
# A block that begins with a list feeds its one input to every path of it.
residual = [jdl.nn("identity"), inner] >> jdl.nn("merge_sum")
net = (
    jdl.po("scale")
    >> jdl.po("ingress_num")
    >> jdl.nn("linear", out_features=64, id="first")
    >> jdl.nn("block", residual, n_blocks=4)
    >> jdl.nn("head")
    >> jdl.po("loss", "cross_entropy")
    >> jdl.po("optimizer", "adamw", lr=2e-3)
    >> jdl.po("model_classif", epochs=20, batch_size=32)
)
print(net.summary(task), end="\n\n")

learner = jdl.as_learner(net, predict_type="prob")
for depth, kind in ((1, "relu"), (8, "relu"), (8, "silu")):
    chosen = learner.set({"block.n_blocks": depth, "block.branch.selection": kind})
    rr = jdl.resample(task, chosen, jdl.rsmp("cv", folds=5), key=0)
    score = rr.aggregate("classif.logloss")
    print(f"{depth} blocks, {kind}: log loss {score:.3f}, compiled in {rr.compile_seconds:.1f} s")
