"""A network as a graph: its summary, its cross-validation, and another architecture by setting hyperparameters.

Run: python examples/03_network_graph.py
"""

import jdl

task = jdl.tsk("iris")
net = (
    jdl.po("scale")
    >> jdl.po("ingress_num")
    >> jdl.nn("linear", out_features=20)
    >> jdl.nn("relu")
    >> jdl.nn("dropout", p=0.1)
    >> jdl.nn("head")
    >> jdl.po("loss", loss=jdl.loss("cross_entropy"))
    >> jdl.po("optimizer", optimizer=jdl.opt("adam", lr=0.02))
    >> jdl.po("model_classif", epochs=50, batch_size=16)
)
print(net.summary(task), end="\n\n")

learner = jdl.as_learner(net, predict_type="prob")
folds = jdl.rsmp("cv", folds=5)
for values in ({}, {"linear.out_features": 100}, {"linear.out_features": 100, "optimizer.lr": 0.005}):
    rr = jdl.resample(task, learner.set(values), folds, key=0)
    scores = rr.aggregate(["classif.acc", "classif.logloss"])
    print(f"{values or 'as it stands'}: accuracy {scores['classif.acc']:.3f}, log loss {scores['classif.logloss']:.3f}")

print("\n" + net.to_mermaid())
